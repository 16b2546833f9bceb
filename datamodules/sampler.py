"""What a rank reads in an epoch, and where in the epoch each clip stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch.utils.data import Dataset, DistributedSampler

from datamodules.epoch_order import EpochOrder


class Place(NamedTuple):
    """A clip at its place in an epoch: what a training sample depends on, besides the seed.

    Attributes:
        clip: its index in the data set.
        epoch: counted from 0.
        position: in the order of the epoch, over all ranks.
    """

    clip: int
    epoch: int
    position: int


class PlaceSampler(DistributedSampler[Place]):
    """Gives a rank its clips of every global batch, one batch after the other.

    Rank r of W takes positions r, r + W, r + 2 W, … of each batch, as torch's sampler deals clips
    out. It derives from that, since Lightning puts its own in place of any other.

    Args:
        dataset: what is sampled.
        order: the clips of every global batch.
        rank: of this process.
        world_size: W, number of processes; divides the global batch.

    Attributes:
        skipped: global batches at the start of the epoch that the next pass leaves out.
    """

    def __init__(
        self, dataset: Dataset[object], order: EpochOrder, rank: int, world_size: int
    ) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, seed=order.seed)
        self.order = order
        self.skipped = 0
        self.num_batches = len(order.batches(epoch=0))

    def __len__(self) -> int:
        """Clips of this rank in a whole epoch."""
        return self.num_batches * self.order.batch_size // self.num_replicas

    def __iter__(self) -> Iterator[Place]:
        epoch, size = self.epoch, self.order.batch_size
        batches = self.order.batches(epoch)
        for number in range(self.skipped, len(batches)):
            for column in range(self.rank, size, self.num_replicas):
                yield Place(int(batches[number, column]), epoch, number * size + column)
