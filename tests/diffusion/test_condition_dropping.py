import pytest
import torch

from movideo.diffusion import SampleRandomness, drop_mask
from movideo.errors import UserError


def test_drops_what_lies_under_the_probability() -> None:
    uniform = torch.tensor([0.0, 0.09, 0.1, 0.99])
    assert drop_mask(uniform, 0.1).tolist() == [True, True, False, False]


def test_zero_never_and_one_always() -> None:
    uniform = torch.tensor([0.0, 0.5, 1 - 2**-24])  # the ends of what torch.rand gives
    assert not drop_mask(uniform, 0.0).any()
    assert drop_mask(uniform, 1.0).all()


def test_the_share_is_the_probability() -> None:
    uniform = SampleRandomness.of_training(0, 0, range(5000)).uniform("tokens")
    share = drop_mask(uniform, 0.1).float().mean().item()
    assert share == pytest.approx(0.1, abs=0.022)  # five standard errors of 0.0042


def test_no_probability() -> None:
    with pytest.raises(UserError, match=r"1\.5"):
        drop_mask(torch.zeros(1), 1.5)
