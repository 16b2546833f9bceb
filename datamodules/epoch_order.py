"""In which order the clips of an epoch are taken: a function of the seed and the epoch alone.

An order is dealt out in global batches, one for all ranks together. So neither the ranks nor the
workers decide which clips come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.proportions import share_out

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class EpochOrder:
    """Draws the clips of an epoch and groups them into batches of one bucket.

    An epoch has as many clips as there are. Without weights each comes once. With weights each
    source has its share of the epoch, divided evenly among its clips: all come equally often, but
    some, drawn anew every epoch, once more than others. Clips that do not fill the last batch of
    their bucket are left out of the epoch.

    Attributes:
        sources: `(N,)`, the number of the source of each clip.
        buckets: `(N,)`, the number of the bucket of each clip.
        weights: the weight of each source, all above 0; None takes each clip once.
        batch_size: G, clips in a batch of all ranks together.
        seed: of the order.
    """

    sources: Indices
    buckets: Indices
    weights: Sequence[float] | None
    batch_size: int
    seed: int

    def batches(self, epoch: int) -> Indices:
        """The clips of every batch, `(K, G)`; K is the same for all epochs.

        With one source and one bucket this is the order of torch's `DistributedSampler`.
        """
        random = torch.Generator().manual_seed(self.seed + epoch)
        drawn = np.concatenate([_draw(members, count, random) for members, count in self._groups()])
        order = drawn[torch.randperm(len(drawn), generator=random).numpy()]
        return _fill(order, self.buckets, self.batch_size)

    def _groups(self) -> list[tuple[Indices, int]]:
        """The clips of each source and bucket, and how many of them an epoch takes.

        By bucket too, so that all epochs have as many batches.
        """
        width = self.buckets.max() + 1
        kinds, kind_of = np.unique(self.sources * width + self.buckets, return_inverse=True)
        groups = [np.flatnonzero(kind_of == number) for number in range(len(kinds))]
        sizes = [len(group) for group in groups]
        if self.weights is None:
            return list(zip(groups, sizes, strict=True))
        clips_of = np.bincount(self.sources)
        shares = [
            self.weights[source] * size / clips_of[source]
            for source, size in zip(kinds // width, sizes, strict=True)
        ]
        return list(zip(groups, share_out(len(self.sources), shares), strict=True))


def _draw(members: Indices, count: int, random: torch.Generator) -> Indices:
    """Takes each member `count / len(members)` times, rounded down or up."""
    rounds, rest = divmod(count, len(members))
    whole = np.tile(members, rounds)
    if not rest:
        return whole
    once_more = torch.randperm(len(members), generator=random)[:rest].numpy()
    return np.concatenate([whole, members[once_more]])


def _fill(order: Indices, buckets: Indices, size: int) -> Indices:
    """Puts clips into batches of their bucket; batches come in the order in which they get full."""
    full = []
    bucket_of = buckets[order]
    for bucket in np.unique(bucket_of):
        places = np.flatnonzero(bucket_of == bucket)
        full.append(places[: len(places) // size * size].reshape(-1, size))
    places = np.concatenate(full)
    return order[places[np.argsort(places[:, -1])]]
