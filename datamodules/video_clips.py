"""The data module that every stage shares."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler

from datamodules.clip_dataset import ClipDataset
from movideo.errors import UserError
from movideo.estimators import DepthEstimator, DISFlow, FlowEstimator, ParallaxDepth
from movideo.labels import (
    LabelStatistics,
    label_settings,
    label_statistics,
    missing_clips,
    precompute_labels,
)
from movideo.video.clips import Clip, ClipSettings
from movideo.video.index import index_clips
from movideo.video.scene_files import LABELS, SceneSettings, write_scenes
from movideo.video.shards import LabelStore

logger = logging.getLogger(__name__)

# One set for every figure that is quoted. Its settings are part of the figure: do not change them.
FROZEN_SCENES = SceneSettings(count=24, seed=20231120)
STATISTICS_CLIPS = 256  # enough for two standard deviations
MAX_LABELS_WHILE_RANKS_WAIT = 512


class VideoClipDataModule(L.LightningDataModule):
    """Clips of videos with their pseudo-labels, or synthetic scenes with exact ones.

    `prepare_data` renders missing scenes and estimates missing labels. Videos, not clips, are split
    into training, validation and test sets (see `split_by_video`).

    Args:
        videos: a folder, a video file, a list file (txt, csv, jsonl) or several of these; a mapping
            gives each its own number of clips per video. None renders `scenes`.
        data_dir: where scenes and labels are kept.
        scenes: the scenes to train on when no videos are given. Their labels are exact for clips of
            their length and size, others are estimated.
        test_scenes: the scenes to test on when no videos are given.
        num_frames: F, frames a clip.
        size: `(H, W)`; the shorter side is resized, the centre cropped.
        fps_range: lowest and highest frame rate of a clip; each clip draws one that its video can
            give.
        clips_per_video: how many clips are drawn from each video.
        key_index: the key frame, the centre by default.
        with_labels: False leaves depth and flow out (stage 0 needs none).
        depth_estimator: makes missing depth labels.
        flow_estimator: makes missing flow labels.
        label_grid: `(h, w)` that new labels are stored on, the clip's own size by default.
        batch_size: clips a batch on each process.
        num_workers: loader processes; the batches do not depend on it.
        val_fraction: share of the videos for validation.
        test_fraction: share of the videos for testing, when `videos` are given.
        seed: of the clips drawn, the split and the order.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(
        self,
        videos: str | list[str] | dict[str, int] | None = None,
        data_dir: str = "data",
        scenes: SceneSettings = SceneSettings(),  # noqa: B008 (frozen)
        test_scenes: SceneSettings = FROZEN_SCENES,
        num_frames: int = 17,
        size: tuple[int, int] = (64, 64),
        fps_range: tuple[float, float] = (3.0, 30.0),
        clips_per_video: int = 1,
        key_index: int | None = None,
        with_labels: bool = True,
        depth_estimator: DepthEstimator | None = None,
        flow_estimator: FlowEstimator | None = None,
        label_grid: tuple[int, int] | None = None,
        batch_size: int = 4,
        num_workers: int = 1,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.prepare_data_per_node = False  # one shared disk: labels are made once, not once a node
        self.videos = videos
        self.data_dir = Path(data_dir)
        self.scenes = scenes
        self.test_scenes = test_scenes
        self.settings = ClipSettings(
            num_frames=num_frames,
            size=size,
            fps_range=fps_range,
            clips_per_video=clips_per_video,
            key_index=key_index,
            seed=seed,
        )
        self.with_labels = with_labels
        self.flow_estimator = flow_estimator or DISFlow()
        self.depth_estimator = depth_estimator or ParallaxDepth()
        self.label_grid = label_grid
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.seed = seed
        self._parts: dict[str, list[Clip]] = {}
        self._datasets: dict[str, ClipDataset] = {}
        self._check()

    def _check(self) -> None:
        settings = self.settings
        low, high = settings.fps_range
        wrong = {
            "num_frames": settings.num_frames < 1,
            "size": min(settings.size) < 1,
            "fps_range": not 0 < low <= high,
            "clips_per_video": settings.clips_per_video < 1,
            "key_index": not 0 <= (settings.key_index or 0) < settings.num_frames,
        }
        values = {**{name: getattr(settings, name) for name in wrong}, **vars(self)}
        wrong |= {name: not 0 <= values[name] <= 1 for name in ("val_fraction", "test_fraction")}
        wrong |= {"batch_size": self.batch_size < 1, "num_workers": self.num_workers < 0}
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise UserError(f"data.{name}: {values[name]} is out of range; see movideo fit --help")

    # ---------------------------------------------------------------------------------------- files

    @property
    def label_dir(self) -> Path:
        """Where new labels go: a folder of their own for each choice of estimators."""
        digest = hashlib.sha256(
            json.dumps(self._label_settings(), sort_keys=True).encode()
        ).hexdigest()
        return self.data_dir / LABELS / digest[:8]

    def _label_settings(self) -> dict[str, Any]:
        return label_settings(self.depth_estimator, self.flow_estimator, self.label_grid)

    def _sources(self) -> list[str]:
        """The folders and files that clips are drawn from."""
        if self.videos is None:
            return [str(self.data_dir / self.scenes.folder_name)]
        return [self.videos] if isinstance(self.videos, str) else list(self.videos)

    def _draw(self, source: str) -> list[Clip]:
        """The clips of one source."""
        settings = self.settings
        if isinstance(self.videos, dict):
            settings = replace(settings, clips_per_video=self.videos[source])
        return index_clips(source, settings).clips

    def _test_source(self) -> str:
        return str(self.data_dir / self.test_scenes.folder_name)

    def _label_store(self) -> LabelStore:
        """Labels of our own, and those that stand in a folder of videos."""
        return LabelStore(*self._given_labels(), self.label_dir)

    def _given_labels(self) -> list[Path]:
        return [Path(folder) / LABELS for folder in (*self._sources(), self._test_source())]

    def prepare_data(self) -> None:
        """Renders the scenes and estimates the labels that are missing. Runs on one process.

        Raises:
            UserError: so many labels are missing that other processes would wait long for them.
        """
        if self.videos is None:
            write_scenes(self._sources()[0], self.scenes)
            write_scenes(self._test_source(), self.test_scenes)
        # Also without labels: broken videos end the run before it has written anything.
        clips = [clip for part in self._split_clips().values() for clip in part]
        if not self.with_labels:
            return
        missing = missing_clips(clips, self._label_store())
        if _world_size() > 1 and len(missing) > MAX_LABELS_WHILE_RANKS_WAIT:
            raise UserError(
                f"{self.label_dir}: {len(missing)} of {len(clips)} clips have no labels; "
                "make them first with: movideo precompute --config YOUR_CONFIG"
            )
        if missing:
            self.precompute(clips)

    def precompute_all(self, rank: int = 0, world_size: int = 1) -> dict[str, str]:
        """Estimates the missing labels of all clips, this rank's share of them.

        Returns:
            The reason for each clip that failed, by its key.
        """
        if self.videos is None and rank == 0:
            write_scenes(self._sources()[0], self.scenes)
        if self.videos is None and rank > 0:
            return {}  # scenes come with labels, and one process renders them
        return self.precompute(self.training_clips(), rank, world_size)

    def precompute(
        self, clips: Sequence[Clip], rank: int = 0, world_size: int = 1
    ) -> dict[str, str]:
        """The same for given clips."""
        return precompute_labels(
            clips,
            self.label_dir,
            self.depth_estimator,
            self.flow_estimator,
            rank=rank,
            world_size=world_size,
            grid=self.label_grid,
            device="cuda" if torch.cuda.is_available() else "cpu",
            known=LabelStore(*self._given_labels()),
        )

    # ---------------------------------------------------------------------------------------- clips

    def training_clips(self) -> list[Clip]:
        """All clips of the given videos (or the scenes), before the split."""
        return [clip for source in self._sources() for clip in self._draw(source)]

    def _split_clips(self) -> dict[str, list[Clip]]:
        """Clips of `train`, `val` and `test`; the videos are read once."""
        if not self._parts:
            fractions = {"val": self.val_fraction}
            if self.videos is not None:
                fractions = {"test": self.test_fraction, **fractions}
            self._parts = split_by_video(self.training_clips(), fractions, self.seed)
        if self.videos is None and "test" not in self._parts:
            self._parts["test"] = index_clips(self._test_source(), self.settings).clips
        return self._parts

    def setup(self, stage: str) -> None:
        """Draws the clips and opens the labels, once."""
        if self._datasets:
            return
        store = self._label_store() if self.with_labels else None
        for name, clips in self._split_clips().items():
            labelled = clips if store is None else [clip for clip in clips if clip in store]
            if len(labelled) < len(clips):
                logger.warning(
                    "%d of %d %s clips are left out: they could not be labelled (%s)",
                    len(clips) - len(labelled),
                    len(clips),
                    name,
                    self.label_dir,
                )
            self._datasets[name] = ClipDataset(labelled, store)

    def label_statistics(self, grid: tuple[int, int]) -> LabelStatistics:
        """Standard deviations of the normalised training labels on a motion grid `(h, w)`."""
        dataset = self._datasets["train"]
        if dataset.labels is None:
            raise UserError(
                "data.with_labels: false, but this stage learns from labels; set it to true"
            )
        stride = max(1, len(dataset) // STATISTICS_CLIPS)  # evenly, so that every source counts
        return label_statistics(
            (dataset.labels.get(clip) for clip in dataset.clips[::stride][:STATISTICS_CLIPS]), grid
        )

    # -------------------------------------------------------------------------------------- loaders

    def train_dataloader(self) -> DataLoader[dict[str, object]]:
        """Batches in an order that depends on the seed and the epoch alone."""
        dataset = self._datasets["train"]
        if len(dataset) < self.batch_size * _world_size():
            raise UserError(
                f"data: {len(dataset)} training clips do not fill one batch of {self.batch_size}; "
                "give more videos, raise data.clips_per_video or lower data.batch_size"
            )
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[dict[str, object]] | list[object]:
        """Validation clips in a fixed order; nothing when there is but one video."""
        return self._loader("val", shuffle=False) if len(self._datasets["val"]) else []

    def test_dataloader(self) -> DataLoader[dict[str, object]]:
        """Test clips in a fixed order."""
        if not len(self._datasets["test"]):
            raise UserError(
                "data: no video is left for the test set; "
                "give more videos or raise data.test_fraction"
            )
        return self._loader("test", shuffle=False)

    def predict_dataloader(self) -> DataLoader[dict[str, object]]:
        """The test clips."""
        return self.test_dataloader()

    def _loader(self, name: str, shuffle: bool) -> DataLoader[dict[str, object]]:
        dataset = self._datasets[name]
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=DistributedSampler(
                dataset,
                num_replicas=_world_size(),
                rank=distributed.get_rank() if _world_size() > 1 else 0,
                shuffle=shuffle,
                seed=self.seed,
            ),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            drop_last=shuffle,
        )


def split_by_video(
    clips: Sequence[Clip], fractions: dict[str, float], seed: int
) -> dict[str, list[Clip]]:
    """Divides clips by the video they come from.

    Each part gets its share of the videos, rounded, at least one while a video is left for
    training, and all that are left for a share of 1. The videos' order is a hash of seed and
    content: it depends neither on names nor on folders, and one more video moves no more than one
    other out of each part, as the shares demand.

    Returns:
        The clips of `train` and of each named part.
    """

    def rank(content_hash: str) -> str:
        return hashlib.sha256(f"{seed}:{content_hash}".encode()).hexdigest()

    videos = sorted({clip.content_hash for clip in clips}, key=rank)
    part_of = dict.fromkeys(videos, "train")
    taken = 0
    for name, fraction in fractions.items():
        share = max(1, round(fraction * len(videos))) if fraction > 0 else 0
        share = min(share, len(videos) - taken - (fraction < 1))
        part_of.update(dict.fromkeys(videos[taken : taken + share], name))
        taken += max(share, 0)
    names = ["train", *fractions]
    return {name: [clip for clip in clips if part_of[clip.content_hash] == name] for name in names}


def _world_size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1
