"""Clips and their labels as samples, in the types that they are stored in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.epoch_order import Indices
from datamodules.packed_clips import PackedClips
from datamodules.sampler import Place
from movideo.clips.augment import Augmentation
from movideo.clips.clip import Clip, read_clip_pixels
from movideo.errors import UserError, VideoError
from movideo.shards.shard import ClipLabels
from movideo.shards.store import RowStore
from movideo.storage.digest import digest

logger = logging.getLogger(__name__)


class ClipDataset(Dataset[dict[str, Any]]):
    """Reads clips, their labels where a store is given, and what encoders made of them.

    A clip that turns out to be damaged is replaced by the next one of its shape, always the same,
    with one warning: which clips make a batch must not depend on how many workers there are.

    Attributes:
        clips: what is read.
        labels: where their labels are.
        encodings: where their latents and tokens are, those that are read.
        with_video: whether their frames are read.
        exact_colours: how, see `read_pixels`.
        sources: `(N,)`, the number of the source that each clip comes from.
        buckets: `(N,)`, equal numbers for clips of equal frames, height and width.
    """

    def __init__(
        self,
        sources: Sequence[Sequence[Clip]],
        labels: RowStore[ClipLabels] | None,
        encodings: Sequence[RowStore[Any]] = (),
        with_video: bool = True,
        exact_colours: bool = True,
    ) -> None:
        """Takes the clips of each source.

        Raises:
            UserError: labels of clips that could be in one batch lie on different grids.
        """
        self.clips = PackedClips(chain.from_iterable(sources))
        self.labels = labels
        self.encodings = encodings
        self.with_video = with_video
        self.exact_colours = exact_colours
        self._counts = [len(clips) for clips in sources]
        self.sources = np.repeat(np.arange(len(sources)), self._counts)
        self.buckets = _numbered_shapes(self.clips, labels)
        self._damaged: set[int] = set()

    def __len__(self) -> int:
        return len(self.clips)

    def by_source(self) -> list[list[Clip]]:
        """The clips of each source."""
        bounds = pairwise(accumulate(self._counts, initial=0))
        return [self.clips[first:end] for first, end in bounds]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The sample of that index: a `StoredBatch` without its leading B.

        Raises:
            VideoError: not one clip of that shape can be read.
        """
        for candidate in self._replacements(index):
            try:
                return self._read(self.clips[candidate])
            except VideoError as error:
                if candidate not in self._damaged:
                    logger.warning("%s (the next clip takes its place)", error)
                    self._damaged.add(candidate)
                last_error = error
        raise last_error

    def _replacements(self, index: int) -> Iterator[int]:
        """The clip itself, then those that may stand in for it."""
        for offset in range(len(self)):
            candidate = (index + offset) % len(self)
            if self.buckets[candidate] == self.buckets[index]:
                yield candidate

    def _read(self, clip: Clip) -> dict[str, Any]:
        sample: dict[str, Any] = {}
        if self.with_video:
            sample["video"] = read_clip_pixels(clip, self.exact_colours)
        sample |= {
            "fps": torch.tensor(clip.fps, dtype=torch.float32),
            "key_index": torch.tensor(clip.key_index),
            # By content: the noise that a clip is given follows its name, not its folder.
            "name": clip.name,
        }
        stores = self.encodings if self.labels is None else (self.labels, *self.encodings)
        for store in stores:
            sample |= vars(store.stored(clip))
        return sample


class TrainingClips(Dataset[dict[str, Any]]):
    """Clips at their places in an epoch, augmented by draws that belong to the place.

    Args:
        clips: what is augmented.
        augmentations: applied one after the other.
        seed: of the draws, with epoch and position.
        fresh: gives the sample of each place, instead of the clip that is there.
    """

    def __init__(
        self,
        clips: ClipDataset,
        augmentations: Sequence[Augmentation],
        seed: int,
        fresh: Callable[[Place], dict[str, Any]] | None = None,
    ) -> None:
        self.clips = clips
        self.fresh = fresh
        self.augmentations = list(augmentations)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        """The augmented sample.

        Raises:
            VideoError: it cannot be read, and no clip of its shape in its place.
        """
        sample = self.clips[place.clip] if self.fresh is None else self.fresh(place)
        text = f"augment/{self.seed}/{place.epoch}/{place.position}"
        random = torch.Generator().manual_seed(int.from_bytes(digest(text)[:8], "little"))
        for augmentation in self.augmentations:
            sample = augmentation(sample, random)
        return sample


def _numbered_shapes(clips: Sequence[Clip], labels: RowStore[ClipLabels] | None) -> Indices:
    numbers: dict[tuple[int, ...], int] = {}
    grids: dict[int, tuple[int, int]] = {}
    buckets = np.empty(len(clips), dtype=np.int64)
    for index, clip in enumerate(clips):
        bucket = numbers.setdefault((clip.num_frames, *clip.size), len(numbers))
        buckets[index] = bucket
        if labels is not None and grids.setdefault(bucket, labels.grid(clip)) != labels.grid(clip):
            raise UserError(
                f"{clip.video}: its labels lie on a grid of {labels.grid(clip)}, those of other "
                f"clips on {grids[bucket]}; label all with one data.labels.grid"
            )
    return buckets
