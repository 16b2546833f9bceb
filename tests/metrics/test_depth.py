import numpy as np
import pytest
import torch

from movideo.metrics import DepthError, depth_error, fit_scale_and_shift
from movideo.motion.space import Motion
from tests.metrics.parts import judged

SHAPE = (2, 3, 1, 5, 6)


def test_alignment_is_that_of_numpys_least_squares() -> None:
    pred = torch.rand(SHAPE)
    target = 3 * pred + 0.5 + torch.rand(SHAPE)
    aligned = fit_scale_and_shift(pred, target)
    for index in range(2):
        p, t = (x[index].double().flatten().numpy() for x in (pred, target))
        columns = np.stack([p, np.ones_like(p)], axis=1)
        solution, residual, *_ = np.linalg.lstsq(columns, t, rcond=None)
        # both in float64
        np.testing.assert_allclose(aligned[index].flatten().numpy(), columns @ solution, rtol=1e-9)
        expected = (residual[0] / len(t)) ** 0.5 / t.std()
        assert depth_error(pred, target)[index].item() == pytest.approx(expected, rel=1e-6)


def test_scale_and_shift_cost_nothing_but_turning_near_and_far_around_does() -> None:
    target = torch.rand(SHAPE)
    # the input's own float32 rounding, relative to a spread of 0.29
    assert (depth_error(100 * target - 7, target) < 1e-4).all()
    assert depth_error(-target, target).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_one_scale_and_shift_for_all_frames() -> None:
    """A clip whose frames are each right up to a shift of their own is not right."""
    target = torch.rand(SHAPE)
    flicker = target + torch.tensor([0.0, 5.0, -5.0]).reshape(1, 3, 1, 1, 1)
    assert (depth_error(flicker, target) > 0.9).all()


def test_flat_fields() -> None:
    target, flat = torch.rand(SHAPE), torch.full(SHAPE, 0.3)
    assert depth_error(flat, target).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert depth_error(target, torch.zeros(SHAPE)).isnan().all()


def test_mean_over_clips() -> None:
    metric, target = DepthError(), torch.rand(SHAPE)
    pred = torch.cat([target[:1], -target[1:]])
    motions = (Motion(depth, *torch.zeros(2, *SHAPE)) for depth in (pred, target))
    fields = dict(zip(("motion", "true_motion"), motions, strict=True))
    metric.update(judged(target.expand(-1, -1, 3, -1, -1), truth=target, **fields))
    assert metric.compute().item() == pytest.approx(0.5, abs=1e-5)
