"""How much a metric would change with other samples."""

from collections.abc import Callable

import torch
from torch import Tensor

Interval = tuple[float, float]


def resample(count: int, generator: torch.Generator) -> Tensor:
    """`count` indices drawn with replacement from 0 to `count - 1`."""
    return torch.randint(count, (count,), generator=generator)


def percentile_interval(
    metric: Callable[[torch.Generator], Tensor], level: float, replicates: int, seed: int
) -> Interval:
    """The middle `level` of what a metric gives on resampled samples: for means.

    Args:
        metric: draws samples with the generator and gives their metric, a scalar.
        level: such as 0.95.
        replicates: how often.
        seed: of the generator.
    """
    values = _replicates(metric, replicates, seed)
    tail = (1 - level) / 2
    low, high = torch.nanquantile(values, values.new_tensor([tail, 1 - tail])).tolist()
    return low, high


def normal_interval(
    point: Tensor,
    metric: Callable[[torch.Generator], Tensor],
    level: float,
    replicates: int,
    seed: int,
) -> Interval:
    """`point` and as many deviations of resampled metrics to either side as a normal one needs.

    For metrics that repeated samples bias, so that percentiles could miss `point` itself: the
    distance of sets grows where they repeat some samples and lack others.

    Args:
        point: the metric of all samples.
        metric: as for `percentile_interval`.
        level: likewise.
        replicates: likewise.
        seed: likewise.
    """
    deviation = _replicates(metric, replicates, seed).std().item()
    reach = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)).item()
    return point.item() - reach * deviation, point.item() + reach * deviation


def _replicates(metric: Callable[[torch.Generator], Tensor], replicates: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([metric(generator) for _ in range(replicates)])
