"""Clips and their labels as training samples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset

from movideo.video.clips import Clip, read_clip
from movideo.video.read import VideoError
from movideo.video.shards import LabelStore

logger = logging.getLogger(__name__)


class ClipDataset(Dataset[dict[str, object]]):
    """Reads clips, and their labels where a store is given.

    A clip that turns out to be damaged is replaced by the next one, always the same, with one
    warning: which clips make a batch must not depend on how many workers there are.
    """

    def __init__(self, clips: Sequence[Clip], labels: LabelStore | None) -> None:
        self.clips = list(clips)
        self.labels = labels
        self._damaged: set[int] = set()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, object]:
        """The sample of that index.

        Raises:
            VideoError: not one clip can be read.
        """
        for offset in range(len(self)):
            candidate = (index + offset) % len(self)
            try:
                return self._read(self.clips[candidate])
            except VideoError as error:
                if candidate not in self._damaged:
                    logger.warning("%s (the next clip takes its place)", error)
                    self._damaged.add(candidate)
                last_error = error
        raise last_error

    def _read(self, clip: Clip) -> dict[str, object]:
        sample: dict[str, object] = {
            "video": read_clip(clip),
            "fps": torch.tensor(clip.fps, dtype=torch.float32),
            "key_index": torch.tensor(clip.key_index),
            # By content: the noise that a clip is given follows its name, not its folder.
            "name": f"{Path(clip.video).stem}_{clip.start:.3f}_{clip.key[:6]}",
        }
        if self.labels is not None:
            labels = self.labels.get(clip)
            sample.update(
                depth=labels.aligned_depth, flow_i2v=labels.flow_i2v, flow_v2i=labels.flow_v2i
            )
        return sample
