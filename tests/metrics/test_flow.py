import pytest
import torch

from movideo.metrics import EndPointError, FlowCosine, end_point_error, flow_cosine
from movideo.motion.space import Motion
from tests.metrics.parts import judged


def constant(*vectors: tuple[float, float]) -> torch.Tensor:
    """Clips `(B, 2, 2, 3, 3)`, each of one vector (dx, dy)."""
    return torch.tensor(vectors)[:, None, :, None, None].expand(-1, 2, 2, 3, 3)


def test_end_point_error_by_hand() -> None:
    found = end_point_error(constant((4.0, 6.0), (1.0, 1.0)), constant((1.0, 2.0), (1.0, 1.0)))
    assert found.tolist() == [5.0, 0.0]  # the hypotenuse of 3 and 4


def test_masked_pixels_do_not_count() -> None:
    """Lengths 5, 1, of which the first counts a half; an empty mask leaves nothing."""
    pred = torch.tensor([[3.0, 4.0], [0.0, 1.0]]).view(1, 2, 2, 1, 1)
    mask = torch.tensor([0.5, 1.0]).view(1, 2, 1, 1, 1)
    found = end_point_error(pred, torch.zeros_like(pred), mask)
    assert found.item() == pytest.approx((0.5 * 5 + 1) / 1.5)
    assert end_point_error(pred, torch.zeros_like(pred), 0 * mask).isnan().all()


def test_end_point_error_averages_lengths_not_squares() -> None:
    pred = constant((0.0, 0.0)).clone()
    pred[:, 0, 0] = 3.0  # one frame of two is 3 off
    assert end_point_error(pred, constant((0.0, 0.0))).item() == 1.5


@pytest.mark.parametrize(
    ("pred", "expected"),
    [((6.0, 0.0), 1.0), ((0.0, 1.0), 0.0), ((-1.0, 0.0), -1.0), ((3.0, 3.0), 0.5**0.5)],
)
def test_cosine_by_hand(pred: tuple[float, float], expected: float) -> None:
    found = flow_cosine(constant(pred), constant((2.0, 0.0)))
    assert found.item() == pytest.approx(expected, abs=1e-6)  # float32


def test_cosine_leaves_out_what_hardly_moves() -> None:
    target = constant((2.0, 0.0)).clone()
    target[:, 1] = 0.1
    pred = constant((1.0, 0.0)).clone()
    pred[:, 1] = -5.0
    assert flow_cosine(pred, target).item() == pytest.approx(1.0, abs=1e-6)
    assert flow_cosine(pred, 0 * target).isnan().all()
    assert flow_cosine(0 * pred, target).item() == 0


def asked(pred, target):
    flows = (Motion(torch.zeros_like(f[:, :, :1]), f, f) for f in (pred, target))
    fields = dict(zip(("motion", "true_motion"), flows, strict=True))
    return judged(torch.zeros(len(pred), pred.shape[1], 3, *pred.shape[-2:]), **fields)


def test_means_over_clips() -> None:
    error, cosine = EndPointError(), FlowCosine()
    pred, target = constant((4.0, 6.0), (1.0, 1.0)), constant((1.0, 2.0), (0.0, 0.0))
    for metric in (error, cosine):
        metric.update(asked(pred, target))
    assert error.compute().item() == pytest.approx((5 + 2**0.5) / 2, abs=1e-6)
    # (4, 6) . (1, 2) / (|(4, 6)| |(1, 2)|) = 16 / sqrt(52 * 5); the still clip does not count
    assert cosine.compute().item() == pytest.approx(16 / 260**0.5, abs=1e-6)
