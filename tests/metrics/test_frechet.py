"""The Fréchet distance by hand, against scipy and against torchmetrics."""

import pytest
import torch
from torchmetrics.image.fid import _compute_fid

from movideo.errors import UserError
from movideo.metrics import frechet_distance


def samples(count: int, dimension: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    draws = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    return scale * draws @ mixing + seed


def test_by_hand():
    """One feature: (m1 - m2)^2 + (s1 - s2)^2, here 3^2 + (sqrt 2 - sqrt 8)^2."""
    first, second = torch.tensor([[0.0], [2.0]]), torch.tensor([[2.0], [6.0]])
    assert frechet_distance(first, second).item() == pytest.approx(9 + (8**0.5 - 2**0.5) ** 2)


@pytest.mark.parametrize("count", [200, 5], ids=["many samples", "fewer than features"])
def test_equal_sets_have_none_and_a_shift_has_its_square(count):
    features = samples(count, 8, 0)
    shift = torch.arange(8.0) / 4
    # rounding, relative to the sum of the variances, some 100
    assert frechet_distance(features, features.flip(0)).item() == pytest.approx(0, abs=1e-10)
    found = frechet_distance(features, features + shift).item()
    assert found == pytest.approx(shift.square().sum().item(), rel=1e-10)


def test_against_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    first, second = samples(60, 6, 1), samples(45, 6, 2, scale=0.5)
    one, other = torch.cov(first.T), torch.cov(second.T)
    root = torch.from_numpy(linalg.sqrtm((one @ other).numpy()).real)
    expected = (first.mean(0) - second.mean(0)).square().sum()
    expected += torch.trace(one + other - 2 * root)
    # float64 either way
    assert frechet_distance(first, second).item() == pytest.approx(expected.item(), rel=1e-8)


def test_against_torchmetrics():
    first, second = samples(60, 6, 3), samples(45, 6, 4)
    expected = _compute_fid(first.mean(0), torch.cov(first.T), second.mean(0), torch.cov(second.T))
    assert frechet_distance(first, second).item() == pytest.approx(expected.item(), rel=1e-8)


def test_a_set_of_one_is_refused():
    with pytest.raises(UserError, match="a set of 1 samples has no covariance; give at least 2"):
        frechet_distance(samples(1, 3, 0), samples(9, 3, 0))
