"""How much a metric would change with other samples."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """A metric of one method less that of another, on the same videos.

    Attributes:
        value: positive where the first is larger.
        interval: 95% confidence, by a paired bootstrap; None of a single video.
        samples: videos that both have.
    """

    value: float
    interval: Interval | None
    samples: int


def resample(count: int, generator: torch.Generator) -> Tensor:
    """`count` indices drawn with replacement from 0 to `count - 1`."""
    return torch.randint(count, (count,), generator=generator)


def numbered(groups: Sequence[Hashable]) -> Tensor:
    """Groups by numbers from 0 on, `(N,)` int64: alike where they are the same."""
    numbers: dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(group, len(numbers)) for group in groups])


def resample_groups(groups: Tensor, generator: torch.Generator) -> Tensor:
    """Indices of samples, where those of a group are drawn together: of one video, say.

    As many groups are drawn as there are, with replacement.

    Args:
        groups: of each sample, `(N,)`, as `numbered` gives them.
        generator: draws them.
    """
    count = int(groups.max()) + 1
    times = resample(count, generator).bincount(minlength=count)[groups]
    return torch.arange(len(groups)).repeat_interleave(times)


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
