"""What every metric of a report has in common: one row of numbers a video, and their summary."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from copy import deepcopy
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.distributed
from torch import Tensor
from torchmetrics import Metric

from movideo.metrics.bootstrap import (
    Difference,
    Interval,
    numbered,
    percentile_interval,
    resample,
    resample_groups,
)
from movideo.metrics.clips import MeasuredClips
from movideo.processes import all_gather_objects, gather_objects

if TYPE_CHECKING:
    from movideo.estimators import Estimator

Description = dict[str, str | int | float]
"""How something was measured, in words and numbers that a report prints."""


class VideoMetric(Metric):
    """A number about a set of videos, computed from a row of numbers for each.

    The rows are kept under the videos' names, and videos are measured one by one. So the metric
    depends neither on batches nor on their order nor on the number of processes, each video counts
    once, and a bootstrap can draw the videos again. Summaries are computed in float64.

    `compute`, `table`, `interval` and `warning` bring together what all processes have: each has to
    call them, unless `gather_to_first` came before. Copies share their networks, which are frozen:
    one for each row of a report costs nothing.

    Attributes:
        name: heads its column.
        unit: such as `dB`; empty for a plain number.
        higher_is_better: None where neither end is good.
        needs: which fields of `MeasuredClips` must be there besides `video`.
        frozen_clip_wins: whether a clip that never moves gets the best value.
        interval_method: how `interval` comes about, or why there is none.
    """

    name: str
    unit: ClassVar[str] = ""
    needs: tuple[str, ...] = ()
    frozen_clip_wins: ClassVar[bool] = False
    interval_method: ClassVar[str] = "bootstrap over videos, percentiles"
    full_state_update = False
    is_differentiable = False
    ids: list[Tensor]
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__(sync_on_compute=False)  # `table` does it, empty processes included
        self.add_state("ids", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")
        self._is_gathered = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies all but the networks."""
        memo |= {id(child): child for child in self.children()}
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(deepcopy(self.__getstate__(), memo))
        return copied

    @abstractmethod
    def measure(self, clips: MeasuredClips) -> Tensor:
        """The row of a single video, `(1, ...)`; NaN where it has no metric."""

    def summary(self, rows: Tensor) -> Tensor:
        """The metric of rows `(N, ...)` in float64: their mean, without those that are NaN."""
        return rows.nanmean()

    def protocol(self) -> Description:
        """How it is measured."""
        return {"interval": self.interval_method}

    def unavailable(self) -> str | None:
        """Why it cannot be computed here and how to get what is missing; None if it can."""
        return None

    def warning(self, count: int) -> str | None:
        """What to bear in mind with that many videos; None if nothing. Known after `update`."""
        return None

    @property
    def key(self) -> str:
        """Its name in the log: `PSNR occluded` is logged as `psnr_occluded`."""
        return self.name.lower().replace(" ", "_")

    def fits(self, clips: MeasuredClips) -> bool:
        """Whether these videos come with all that it needs."""
        return all(getattr(clips, name) is not None for name in self.needs)

    @torch.no_grad()
    def update(self, clips: MeasuredClips) -> None:
        """Takes in some videos."""
        for clip in one_by_one(clips):
            self.ids.append(clip_ids(clip.names))
            self.rows.append(self.measure(clip).cpu())

    def compute(self) -> Tensor:
        """The metric of all videos so far, a scalar; NaN if there are none."""
        _, rows = self.table()
        return self.summary(rows)

    def table(self) -> tuple[Tensor, Tensor]:
        """Ids `(N,)`, ascending, and rows `(N, ...)` in float64, on the CPU; each video once."""
        ids, rows = self.gathered(self.ids, self.rows)
        return ids, rows.double()

    def gather_to_first(self) -> None:
        """Moves the rows of all processes to the first, which alone has the metric from then on.

        Features of thousands of videos need not be in the memory of each. Each process has to call
        this; afterwards none waits for another.
        """
        for name in self._defaults:
            pieces = gather_objects(getattr(self, name))
            setattr(self, name, [row for theirs in pieces for row in theirs])
        self._is_gathered = True

    def reset(self) -> None:
        """Forgets the videos."""
        super().reset()
        self._is_gathered = False

    def gathered(self, ids: Sequence[Tensor], rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What all processes have of such rows, sorted by id, the first row of each.

        torchmetrics' own way supposes that every process has some, or that rows are plain numbers.
        """
        pieces = [(torch.cat(list(ids)), torch.cat(list(rows)))] if ids else []
        if not self._is_gathered:
            pieces = [piece for theirs in all_gather_objects(pieces) for piece in theirs]
        return sorted_rows(pieces)

    def interval(
        self, level: float = 0.95, replicates: int = 1000, seed: int = 0
    ) -> Interval | None:
        """A confidence interval by bootstrap over videos; see `interval_method`.

        This one is for metrics whose rows are single numbers.

        Args:
            level: share of such intervals that hold the metric of infinitely many videos.
            replicates: how often the videos are drawn again.
            seed: of the draws.

        Returns:
            Its ends; None with fewer than 2 videos that have a metric.
        """
        _, rows = self.table()
        rows = rows[rows.isfinite()]
        if len(rows) < 2:
            return None
        return percentile_interval(
            lambda generator: self.summary(rows[resample(len(rows), generator)]),
            level,
            replicates,
            seed,
        )

    def difference(
        self,
        other: VideoMetric,
        groups: Mapping[int, Hashable],
        level: float = 0.95,
        replicates: int = 1000,
        seed: int = 0,
    ) -> Difference | None:
        """How much larger this is than the same metric of another method's videos.

        Of the videos that both have, finite ones; bootstrapped over groups, both drawn alike.

        Args:
            other: the other method's.
            groups: by the videos' ids (`clip_ids`), what is drawn together.
            level: see `interval`.
            replicates: likewise.
            seed: likewise.

        Returns:
            None where there is no such video, or a video's row is not a single number.
        """
        (ids, rows), (other_ids, other_rows) = self.table(), other.table()
        if rows.dim() != 1:
            return None
        # Either table ascends by id.
        shared = ids[torch.isin(ids, other_ids)]
        own, others = rows[torch.isin(ids, shared)], other_rows[torch.isin(other_ids, shared)]
        finite = own.isfinite() & others.isfinite()
        shared, own, others = shared[finite], own[finite], others[finite]
        if not len(shared):
            return None
        drawn_together = numbered([groups[number] for number in shared.tolist()])

        def larger(generator: torch.Generator) -> Tensor:
            drawn = resample_groups(drawn_together, generator)
            return self.summary(own[drawn]) - self.summary(others[drawn])

        interval = None
        if drawn_together.any():  # more than one
            interval = percentile_interval(larger, level, replicates, seed)
        value = self.summary(own) - self.summary(others)
        return Difference(value.item(), interval, len(shared))


def one_by_one(clips: MeasuredClips) -> Iterator[MeasuredClips]:
    """Each video by itself: what lies beside it in a batch changes a network's last digits."""
    for index in range(len(clips.names)):
        here = slice(index, index + 1)

        def only(value: Any, here: slice = here) -> Any:
            if isinstance(value, list | Tensor):
                return value[here]
            if hasattr(value, "map"):  # motion
                return value.map(lambda field: field[here])
            return value

        yield MeasuredClips(**{name: only(value) for name, value in vars(clips).items()})


def clip_ids(names: Sequence[str]) -> Tensor:
    """Names as numbers that processes can exchange, `(B,)` int64."""
    digests = (blake2b(name.encode(), digest_size=8).digest() for name in names)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests])


def sorted_rows(pieces: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Ids and rows of several pieces, sorted by id, the first row of each."""
    if not pieces:
        return torch.empty(0, dtype=torch.int64), torch.empty(0)
    all_ids = torch.cat([piece[0] for piece in pieces])
    all_rows = torch.cat([piece[1] for piece in pieces])
    all_ids, order = all_ids.sort(stable=True)
    first = torch.ones_like(all_ids, dtype=torch.bool)
    first[1:] = all_ids[1:] != all_ids[:-1]
    return all_ids[first], all_rows[order][first]


def describe(estimator: Estimator) -> str:
    """Which estimator it is, for a report."""
    settings = estimator.settings()
    name = str(settings["class_path"]).rpartition(".")[2]
    return f"{name} {settings['init_args']}"
