"""Intervals against the spread that theory gives them."""

import pytest
import torch

from movideo.metrics.bootstrap import (
    normal_interval,
    numbered,
    percentile_interval,
    resample,
    resample_groups,
)

VALUES = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DEVIATION = VALUES.std(unbiased=False).item() / 20  # of the mean of 400 draws


def redrawn_mean(generator: torch.Generator) -> torch.Tensor:
    return VALUES[resample(400, generator)].mean()


def redrawn_biased(generator: torch.Generator) -> torch.Tensor:
    return redrawn_mean(generator) + 1


@pytest.mark.parametrize(("level", "reach"), [(0.95, 1.96), (0.6827, 1.0)])
def test_means_spread_as_theory_says(level, reach):
    expected = [VALUES.mean().item() + sign * reach * DEVIATION for sign in (-1, 1)]
    # 4000 replicates: the standard error of a 2.5% quantile is about 0.04 deviations
    tolerance = 0.12 * DEVIATION
    found = percentile_interval(redrawn_mean, level, replicates=4000, seed=0)
    assert found == pytest.approx(expected, abs=tolerance)
    found = normal_interval(VALUES.mean(), redrawn_mean, level, replicates=4000, seed=0)
    assert found == pytest.approx(expected, abs=tolerance)


def test_a_bias_of_the_replicates_does_not_move_the_normal_interval():
    low, high = normal_interval(VALUES.mean(), redrawn_biased, 0.95, replicates=200, seed=0)
    assert (low + high) / 2 == pytest.approx(VALUES.mean().item())


def test_one_seed_one_interval():
    one, same, other = (percentile_interval(redrawn_mean, 0.9, 50, seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_group_is_drawn_whole():
    generator = torch.Generator().manual_seed(0)
    groups = numbered(["a", "b", "a"])
    assert groups.tolist() == [0, 1, 0]
    draws = [tuple(resample_groups(groups, generator).tolist()) for _ in range(200)]
    assert set(draws) == {(0, 0, 2, 2), (0, 1, 2), (1, 1)}
