import math

import pytest
import torch
from torch import nn

from movideo.errors import UserError
from movideo.losses import AdversarialLoss, adaptive_ratio
from movideo.models.discriminator import PatchDiscriminator


class Scale(nn.Module):
    """A discriminator whose logits are the red channel of each frame, enlarged."""

    dimensions = 2

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.factor * video[:, :, 0]


def flat(*reds: float) -> torch.Tensor:
    """A clip of flat frames, `(1, F, 3, 2, 2)`."""
    return torch.tensor(reds).view(1, -1, 1, 1, 1).repeat(1, 1, 3, 2, 2)


def test_hinge_losses_by_hand():
    loss = AdversarialLoss(Scale(2.0))
    decoded, truth = flat(-1, 0.25), flat(0.25, 1)  # logits -2, 0.5 and 0.5, 2
    assert loss(decoded, truth).item() == pytest.approx(-(-2 + 0.5) / 2)
    # real: 0.5 and 0 (beyond the margin); fake: 0 and 1.5
    expected = ((0.5 + 0) / 2 + (0 + 1.5) / 2) / 2
    verdict = loss.judge(decoded, truth)
    assert verdict.loss.item() == pytest.approx(expected)
    assert (verdict.real_accuracy.item(), verdict.fake_accuracy.item()) == (1, 0.5)


def test_each_side_pulls_its_own_way():
    loss = AdversarialLoss(Scale(0.5))
    decoded, truth = flat(-0.2).requires_grad_(), flat(0.6).requires_grad_()
    loss.judge(decoded, truth).loss.backward()
    assert decoded.grad is None
    assert truth.grad is None
    # inside the margins: (1 - 0.6 w + 1 - 0.2 w) / 2
    assert loss.discriminator.factor.grad.item() == pytest.approx(-0.4)
    loss(decoded, truth).backward()
    # the mean over 4 logits, of red alone
    assert decoded.grad[:, :, 0].unique().tolist() == pytest.approx([-0.5 / 4])
    assert truth.grad is None


@pytest.mark.parametrize("dimensions", [2, 3])
def test_plays_against_the_patch_discriminator(dimensions):
    torch.manual_seed(0)
    loss = AdversarialLoss(PatchDiscriminator(dimensions, width=4, layers=2))
    assert loss.curve == f"adversarial_{dimensions}d"
    decoded, truth = torch.rand(1, 3, 3, 32, 32, requires_grad=True), torch.rand(1, 3, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        loss(decoded, truth).backward()
        found = loss.judge(decoded, truth).loss
    assert decoded.grad.abs().sum() > 0
    assert found.dtype == torch.float32
    assert torch.equal(found, loss.judge(decoded, truth).loss)
    # hardly any opinion before training: both margins are missed by 1
    assert found.item() == pytest.approx(1, abs=0.1)


def test_adaptive_ratio_makes_both_gradients_as_long():
    reference, adversarial = torch.randn(4, 3, 3), torch.randn(4, 3, 3).requires_grad_()
    ratio = adaptive_ratio(reference, adversarial, 1e4)
    assert not ratio.requires_grad
    assert ratio.shape == ()
    assert (ratio * adversarial).norm().item() == pytest.approx(reference.norm().item(), rel=1e-5)


def test_adaptive_ratio_is_bounded():
    zero, one = torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])
    assert adaptive_ratio(one, 1e-3 * one, 50.0).item() == 50
    assert adaptive_ratio(one, zero, 50.0).item() == 50
    assert adaptive_ratio(zero, one, 50.0).item() == 0
    assert adaptive_ratio(zero, zero, 50.0).item() == 0
    assert adaptive_ratio(one.bfloat16(), 3 * one.bfloat16(), 50.0).item() == pytest.approx(1 / 3)
    assert adaptive_ratio(math.nan * one, one, 50.0).isnan()  # not hidden


def test_keeps_its_bound_and_refuses_a_negative_one():
    assert AdversarialLoss(Scale(1.0), max_ratio=5.0).max_ratio == 5
    with pytest.raises(UserError, match=r"^max_ratio: -1; give [^\n]*$"):
        AdversarialLoss(Scale(1.0), max_ratio=-1)
    with pytest.raises(UserError, match=r"^weight: -1 for AdversarialLoss"):
        AdversarialLoss(Scale(1.0), weight=-1)
