"""Key frames to make videos of: a folder of pictures or a file of prompts, shared by processes."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datamodules.loader import worker_options
from movideo.clips.key_frames import KeyFrameBatch, list_images, list_prompts
from movideo.errors import UserError, VideoError, check_ranges
from movideo.video.read import read_image

logger = logging.getLogger(__name__)

Sample = tuple[str, Tensor | str | VideoError]
"""Name of the video, and its picture, its prompt, or why there is no picture."""


class KeyFrameDataModule(L.LightningDataModule):
    """What `movideo predict` makes videos of: pictures or prompts, each once.

    A process takes every n-th of what is listed, whether its video is there already or not: however
    often a run is started again, and with however many processes, each video is made once. Pictures
    that cannot be read are named, left out, and counted at the end.

    Args:
        images: a picture or a folder of them.
        prompts: a file of prompts: .txt, one a line, or .csv or .jsonl with a column `prompt`.
        num_frames: F, frames of a video.
        size: `(H, W)` of a video; of pictures the shorter side is resized, the centre cropped.
        fps: frames per second of a video, 3 to 30.
        key_index: where the picture stands in it, the centre by default.
        part: which share of the list this run takes, from 0.
        parts: the number of runs that share the list, such as the tasks of a job array.
        batch_size: videos made at once on each process.
        num_workers: processes that read pictures.

    Raises:
        UserError: neither or both of `images` and `prompts` are given, or a number is out of range.
    """

    def __init__(
        self,
        images: str | None = None,
        prompts: str | None = None,
        num_frames: int = 17,
        size: tuple[int, int] = (64, 64),
        fps: float = 10.0,
        key_index: int | None = None,
        part: int = 0,
        parts: int = 1,
        batch_size: int = 4,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        # Where a run goes on, a process may have nothing left to do.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.images = images
        self.prompts = prompts
        self.num_frames = num_frames
        self.size = size
        self.fps = fps
        self.key_index = num_frames // 2 if key_index is None else key_index
        self.part = part
        self.parts = parts
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._listed: dict[str, str] = {}
        self._left_out: frozenset[str] = frozenset()
        self._unreadable = 0
        self._check()

    def _check(self) -> None:
        if (self.images is None) == (self.prompts is None):
            raise UserError(
                f"data.images: {self.images}, data.prompts: {self.prompts}; give one of them"
            )
        last, last_part = self.num_frames - 1, self.parts - 1
        ranges = {
            "num_frames": (self.num_frames > 0, "1 or more"),
            "size": (min(self.size) > 0, "1 or more pixels"),
            "fps": (0 < self.fps < float("inf"), "a finite number above 0"),
            "key_index": (0 <= self.key_index <= last, f"0 to num_frames - 1, {last}"),
            "parts": (self.parts > 0, "1 or more"),
            "part": (0 <= self.part <= last_part, f"0 to parts - 1, {last_part}"),
            "batch_size": (self.batch_size > 0, "1 or more"),
            "num_workers": (self.num_workers >= 0, "0 or more"),
        }
        check_ranges("data.{}", vars(self), ranges)

    def prepare_data(self) -> None:
        """Ends a run of which nothing can come before it has written anything.

        Raises:
            VideoError: the pictures or prompts cannot be listed.
        """
        self._list()

    def setup(self, stage: str) -> None:
        """Lists the pictures or prompts."""
        self._listed = self._list()

    def _list(self) -> dict[str, str]:
        if self.prompts is not None:
            return list_prompts(self.prompts)
        assert self.images is not None
        return list_images(self.images)

    @property
    def has_prompts(self) -> bool:
        """Whether the key frames are still to be made from prompts."""
        return self.prompts is not None

    def settings(self) -> dict[str, dict[str, Any]]:
        """What each video depends on here, by its name: plain values, for all processes' videos."""
        kind = "prompt" if self.has_prompts else "image"
        shared = {
            "num_frames": self.num_frames,
            "size": list(self.size),
            "fps": self.fps,
            "key_index": self.key_index,
        }
        return {name: {kind: source} | shared for name, source in self._listed.items()}

    def leave_out(self, names: Collection[str]) -> None:
        """Takes those videos as made; the stage calls this before anything is read."""
        self._left_out = frozenset(names)

    def predict_dataloader(self) -> DataLoader[Any]:
        """This process's share of what is listed, without what was left out."""
        trainer = self.trainer
        rank, processes = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        share = list(self._listed)[self.part * processes + rank :: self.parts * processes]
        names = [name for name in share if name not in self._left_out]
        key_frames = _KeyFrames(
            {name: self._listed[name] for name in names}, None if self.has_prompts else self.size
        )
        return DataLoader(
            key_frames,
            batch_size=self.batch_size,  # by its name: Lightning builds loaders of predict anew
            # All of it: without a sampler of this kind Lightning would share it once more.
            sampler=DistributedSampler(key_frames, num_replicas=1, rank=0, shuffle=False),
            collate_fn=list,
            **worker_options(self.num_workers, processes),
        )

    def on_before_batch_transfer(self, batch: list[Sample], dataloader_idx: int) -> KeyFrameBatch:
        """Names the pictures that cannot be read, and batches the others, maybe none."""
        for _, found in batch:
            if isinstance(found, VideoError):
                logger.warning("%s (left out)", found)
                self._unreadable += 1
        kept = {name: found for name, found in batch if not isinstance(found, VideoError)}
        made = KeyFrameBatch(
            name=list(kept),
            fps=torch.full((len(kept),), self.fps),
            key_index=torch.full((len(kept),), self.key_index),
            num_frames=self.num_frames,
            size=self.size,
        )
        if self.has_prompts:
            made["prompt"] = [str(found) for found in kept.values()]
        elif kept:
            made["image"] = torch.stack([f for f in kept.values() if isinstance(f, Tensor)])
        return made

    def teardown(self, stage: str) -> None:
        """Counts the pictures that could not be read."""
        if self._unreadable:
            logger.warning(
                "%d of %d pictures were left out: they cannot be read (see above)",
                self._unreadable, len(self._listed),
            )  # fmt: skip
            self._unreadable = 0


class _KeyFrames(Dataset[Sample]):
    """Reads pictures at `size`; without one, gives prompts as they are."""

    def __init__(self, sources: dict[str, str], size: tuple[int, int] | None) -> None:
        self.sources = list(sources.items())
        self.size = size

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Sample:
        name, source = self.sources[index]
        if self.size is None:
            return name, source
        try:
            return name, read_image(source, self.size)
        except VideoError as error:
            return name, error
