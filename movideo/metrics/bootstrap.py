"""How much a figure would change with other samples."""

from collections.abc import Callable

import torch
from torch import Tensor

Interval = tuple[float, float]


def resample(count: int, generator: torch.Generator) -> Tensor:
    """`count` indices drawn with replacement from 0 to `count - 1`."""
    return torch.randint(count, (count,), generator=generator)


def percentile_interval(
    figure: Callable[[torch.Generator], Tensor], level: float, replicates: int, seed: int
) -> Interval:
    """The middle `level` of what a figure gives on resampled samples: for means.

    Args:
        figure: draws samples with the generator and gives their figure, a scalar.
        level: such as 0.95.
        replicates: how often.
        seed: of the generator.
    """
    values = _replicates(figure, replicates, seed)
    tail = (1 - level) / 2
    low, high = torch.nanquantile(values, values.new_tensor([tail, 1 - tail])).tolist()
    return low, high


def normal_interval(
    point: Tensor,
    figure: Callable[[torch.Generator], Tensor],
    level: float,
    replicates: int,
    seed: int,
) -> Interval:
    """`point` and as many deviations of resampled figures to either side as a normal one needs.

    For figures that repeated samples bias, so that percentiles could miss `point` itself: the
    distance of sets grows where they repeat some samples and lack others.

    Args:
        point: the figure of all samples.
        figure: as for `percentile_interval`.
        level: likewise.
        replicates: likewise.
        seed: likewise.
    """
    deviation = _replicates(figure, replicates, seed).std().item()
    reach = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)).item()
    return point.item() - reach * deviation, point.item() + reach * deviation


def _replicates(figure: Callable[[torch.Generator], Tensor], replicates: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([figure(generator) for _ in range(replicates)])
