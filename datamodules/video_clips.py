"""The data module that every stage shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from datamodules.buckets import check_buckets, shape_clips
from datamodules.clip_dataset import ClipDataset, TrainingClips
from datamodules.epoch_order import EpochOrder
from datamodules.fresh_scenes import FreshScenes
from datamodules.loader import ResumableLoader, worker_options
from datamodules.packed_clips import PackedClips
from datamodules.sampler import PlaceSampler
from datamodules.settings import LabelSettings, SplitSettings, TrainingSettings
from datamodules.shard_folder import ShardFolder
from datamodules.sources import ClipSources
from datamodules.split import TRAIN, split_by_video
from datamodules.stored_encodings import with_encodings
from movideo.clips.batch import ClipBatch, StoredBatch, to_clip_batch
from movideo.clips.clip import Clip, ClipSettings, read_clip
from movideo.clips.index import index_clips
from movideo.clips.key_places import place_key_frame
from movideo.errors import UserError, check_ranges
from movideo.estimators import DISFlow, ParallaxDepth
from movideo.hub.pretrained import PretrainedModule
from movideo.processes import rank, world_size
from movideo.scenes.files import LABELS, SceneSettings, write_scenes
from movideo.shards.encodings import Encoders
from movideo.shards.labels import LabelProducer, LabelStatistics, label_statistics
from movideo.storage.digest import hex_digest

if TYPE_CHECKING:
    from movideo.motion.space import MotionSpace

# One set for every metric that is quoted: readable scenes; free ones, `readable=0`, are told apart.
# Its settings are part of the metric: do not change them.
FROZEN_SCENES = SceneSettings(count=24, seed=20261127, readable=1.0)
STATISTICS_CLIPS = 256  # enough for two standard deviations


class VideoClipDataModule(L.LightningDataModule):
    """Clips of videos with their pseudo-labels, or synthetic scenes with exact ones.

    `prepare_data` renders missing scenes and estimates missing labels. Videos, not clips, are split
    into training, validation and test sets (see `split_by_video`). Training batches depend on the
    seed and the epoch alone, and a run that is resumed goes on with the next one. Batches travel to
    the device as they are stored, and become a `ClipBatch` there.

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
        key_index: the key frame; by default the centre, and in training what
            `training.key_frames` draws.
        weights: the share of each of `videos` in an epoch's training clips, in any unit; by default
            an epoch has every clip once.
        allow_outside: let lists among `videos` name files that are not below their own folder.
        training: what is done to training clips alone.
        labels: where depth and flow come from.
        encoders: their latents and tokens of training clips are kept too, and the stages that use
            these encoders are given them in place of the video (see `serve_encodings`).
        batch_size: clips a batch on each process.
        num_workers: loader processes; the batches do not depend on it.
        split: which share of the videos is kept to validate and test.
        seed: of the clips drawn, the split, the order and the augmentations.

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
        weights: dict[str, float] | None = None,
        allow_outside: bool = False,
        training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
        labels: LabelSettings = LabelSettings(),  # noqa: B008 (frozen)
        encoders: Encoders | None = None,
        batch_size: int = 4,
        num_workers: int = 1,
        split: SplitSettings = SplitSettings(),  # noqa: B008 (frozen)
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.prepare_data_per_node = False  # one shared disk: labels are made once, not once a node
        self.data_dir = Path(data_dir)
        self.renders_scenes = videos is None
        self.scenes = scenes
        self.test_scenes = test_scenes
        self.sources = ClipSources(
            self._scene_folder(scenes) if videos is None else videos, weights, allow_outside
        )
        self.settings = ClipSettings(
            num_frames=num_frames,
            size=size,
            fps_range=fps_range,
            clips_per_video=clips_per_video,
            key_index=key_index,
            seed=seed,
        )
        self.training = training
        self.with_labels = labels.enabled
        device = "cuda" if torch.cuda.is_available() else "cpu"
        estimators = (
            labels.depth_estimator or ParallaxDepth(),
            labels.flow_estimator or DISFlow(dead_zone=0.3),
        )
        videos_folders = (*self.sources.folders, self._scene_folder(test_scenes))
        self.labels = ShardFolder(
            self.data_dir,
            LabelProducer(*estimators, labels.grid, device),
            given=[Path(folder) / LABELS for folder in dict.fromkeys(videos_folders)],
        )
        producers = {} if encoders is None else encoders.producers(device)
        self.encodings: dict[str, ShardFolder[Any]] = {
            name: ShardFolder(self.data_dir, producer) for name, producer in producers.items()
        }
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.split = split
        self.seed = seed
        self._parts: dict[str, list[PackedClips]] = {}
        self._datasets: dict[str, ClipDataset] = {}
        self._check()

    def _check(self) -> None:
        if self.training.fresh_scenes:
            self._check_fresh_scenes()
        ranges = {
            "batch_size": (self.batch_size > 0, "1 or more"),
            "num_workers": (self.num_workers >= 0, "0 or more"),
        }
        values = vars(self) | vars(self.settings)
        check_ranges("data.{}", values, self.settings.ranges() | ranges)
        check_buckets(self.training.buckets, self.settings)
        for augmentation in self.training.augmentations if self.encodings else ():
            if not augmentation.commutes:
                raise UserError(
                    f"data.training.augmentations: {type(augmentation).__name__} changes what the "
                    "encoders see, and data.encoders keeps what they make of unchanged clips; "
                    "leave one out"
                )

    def _check_fresh_scenes(self) -> None:
        """They come as they are rendered: of their own shape, with labels, never seen twice."""
        shape = self.scenes.num_frames, *self.scenes.size
        refusals = {
            "videos are given": not self.renders_scenes,
            "data.encoders keeps what is made of clips on disk": bool(self.encodings),
            f"clips are not of the scenes' shape {shape}": (
                shape != (self.settings.num_frames, *self.settings.size)
                or bool(self.training.buckets)
            ),
            "data.key_index is given": self.settings.key_index is not None,
        }
        for reason, applies in refusals.items():
            if applies:
                raise UserError(f"data.training.fresh_scenes: true, but {reason}; leave one out")

    # ---------------------------------------------------------------------------------------- files

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Those of the clips, `(H, W)`: of all, and of each training bucket."""
        return [
            self.settings.size,
            *((height, width) for _, height, width in self.training.buckets),
        ]

    @property
    def label_dir(self) -> Path:
        """Where new labels go: a folder of their own for each choice of estimators."""
        return self.labels.directory

    def _scene_folder(self, scenes: SceneSettings) -> str:
        return str(self.data_dir / scenes.folder_name)

    def prepare_data(self) -> None:
        """Renders the scenes and estimates the labels that are missing. Runs on one process.

        Where other processes would wait for labels, they are left to `setup`, which runs on all
        processes and ends them all.
        """
        if self.renders_scenes:
            for scenes in (self.scenes, self.test_scenes):
                write_scenes(self._scene_folder(scenes), scenes)
        # Also without labels: broken videos end the run before it has written anything.
        clips = _flat(self._split_clips().values())
        if self.with_labels and world_size() == 1:
            self.labels.make(clips)

    def precomputed(self) -> list[tuple[ShardFolder[Any], list[Clip]]]:
        """What is made ahead of training, and of which clips: encodings of training clips alone."""
        training = _flat([self._given_parts()[TRAIN]])
        return [(self.labels, self.training_clips())] + [
            (folder, training) for folder in self.encodings.values()
        ]

    def precompute_all(self, rank: int = 0, world_size: int = 1) -> dict[str, str]:
        """Makes what is missing of all that is made ahead of training, this rank's share of it.

        Returns:
            The reason for each clip that failed, by its key.
        """
        if self.renders_scenes and rank > 0:
            return {}  # one process renders scenes, and nearly all come with labels
        if self.renders_scenes:
            write_scenes(self._scene_folder(self.scenes), self.scenes)
            world_size = 1
        failed: dict[str, str] = {}
        for folder, clips in self.precomputed():
            failed |= folder.make(clips, rank, world_size)
        return failed

    # ---------------------------------------------------------------------------------------- clips

    def training_clips(self) -> list[Clip]:
        """All clips of the given videos (or the scenes), also those kept to validate and test."""
        return _flat(self._given_parts().values())

    def _given_parts(self) -> dict[str, list[PackedClips]]:
        """Those clips by part and source; the videos are read once."""
        if not self._parts:
            drawn = self.sources.draw(self.settings)
            fractions = {"val": self.split.val}
            if not self.renders_scenes:
                fractions = {"test": self.split.test, **fractions}
            for part, sources in split_by_video(drawn, fractions, self.seed).items():
                self._parts[part] = [PackedClips(self._shaped(clips, part)) for clips in sources]
        return self._parts

    def _shaped(self, clips: list[Clip], part: str) -> list[Clip]:
        """Buckets and other key frames are for training: what is measured is of one kind."""
        if part != TRAIN:
            return clips
        if self.training.buckets:
            clips = shape_clips(clips, self.settings, self.training.buckets)
        if self.settings.key_index is None and self.training.key_frames.anywhere:
            clips = [place_key_frame(clip, self.training.key_frames) for clip in clips]
        return clips

    @property
    def has_key_frames_anywhere(self) -> bool:
        """Whether the key frames of training clips stand elsewhere than in the centre, too."""
        if self.settings.key_index is not None:
            return self.settings.key_index != self.settings.num_frames // 2
        return self.training.key_frames.anywhere

    def _split_clips(self) -> dict[str, list[PackedClips]]:
        """The same with the scenes to test on, where no videos are given."""
        parts = self._given_parts()
        if self.renders_scenes and "test" not in parts:
            scenes = index_clips(self._scene_folder(self.test_scenes), self.settings).clips
            parts["test"] = [PackedClips(scenes)]
        return parts

    def setup(self, stage: str) -> None:
        """Opens the labels, once.

        Raises:
            UserError: labels are still to be made.
        """
        if self._datasets:
            return
        store = self.labels.store() if self.with_labels else None
        if store is not None:
            self.labels.check_all_made(_flat(self._split_clips().values()), store)
        for part, sources in self._split_clips().items():
            kept = sources if store is None else self.labels.with_rows(sources, store, part)
            exact = (
                self.training.exact_colours or part != TRAIN
            )  # what is measured has true colours
            self._datasets[part] = ClipDataset(kept, store, exact_colours=exact)

    def serve_encodings(self, parts: Mapping[str, PretrainedModule]) -> None:
        """Gives training batches what these parts would make of their clips, where it is kept.

        The video is left out of training batches unless some of the parts must still see it.
        Encodings that are missing are made, unless other processes would wait for that. A stage
        calls this when its training starts.

        Args:
            parts: those of a stage that are frozen and see nothing but the clip, by the names that
                `Encoders` has for them; none where a stage needs the video itself.

        Raises:
            UserError: `encoders` are given of which the stage needs none, or others than its own,
                or with several processes encodings are still to be made.
        """
        if self.encodings:
            self._datasets[TRAIN] = with_encodings(
                self._datasets[TRAIN], self.encodings, parts, may_make=world_size() == 1
            )

    def label_statistics(self, space: MotionSpace) -> LabelStatistics:
        """Of the training labels as a motion space normalises them."""
        dataset = self._datasets[TRAIN]
        if dataset.labels is None:
            raise UserError(
                "data.labels.enabled: false, but this stage learns from labels; set it to true"
            )
        stride = max(1, len(dataset) // STATISTICS_CLIPS)  # evenly, so that every source counts
        clips = dataset.clips[::stride][:STATISTICS_CLIPS]
        return label_statistics(((dataset.labels.get(clip), clip.reach) for clip in clips), space)

    # -------------------------------------------------------------------------------------- loaders

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Batches in an order that depends on the seed and the epoch alone."""
        dataset, size = self._datasets[TRAIN], self.batch_size * world_size()
        if getattr(self.trainer, "overfit_batches", 0):  # some clips, again and again
            return self._fixed_loader(TRAIN)
        if np.bincount(dataset.buckets, minlength=1).max() < size:
            raise UserError(
                f"data: {len(dataset)} training clips do not fill one batch of {self.batch_size}; "
                "give more videos, raise data.clips_per_video or lower data.batch_size"
            )
        self.sources.check_counts(dataset.sources)
        weights = self.sources.weight_list
        order = EpochOrder(dataset.sources, dataset.buckets, weights, size, self.seed)
        return ResumableLoader(
            TrainingClips(dataset, self.training.augmentations, self.seed, self._fresh(order)),
            PlaceSampler(dataset, order, rank(), world_size()),
            **self._loader_options(),
        )

    def _fresh(self, order: EpochOrder) -> FreshScenes | None:
        if not self.training.fresh_scenes:
            return None
        count = order.batches(epoch=0).size
        return FreshScenes(self.scenes, count, self.training.key_frames)

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[object]:
        """Validation clips in a fixed order; nothing when there is but one video."""
        return self._fixed_loader("val") if len(self._datasets["val"]) else []

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Test clips in a fixed order."""
        if not len(self._datasets["test"]):
            raise UserError(
                "data: no video is left for the test set; give more videos or raise data.split.test"
            )
        return self._fixed_loader("test")

    def protocol(self) -> dict[str, str | int | float]:
        """How the test clips come about, for a report."""
        clips, settings = self._datasets["test"].clips, self.settings
        names = "\n".join(clip.name for clip in clips)
        return {
            "data set": "scenes" if self.renders_scenes else "clips of videos",
            "samples": len(clips),
            "sample list": hex_digest(names)[:16],
            "frames": settings.num_frames,
            "size": "{}x{}".format(*settings.size),
            "fps": "{:g} to {:g}".format(*settings.fps_range),
            "seed of the clips": self.seed,
        }

    def true_clip(self, name: str) -> Tensor:
        """A test clip by its name, `(F, 3, H, W)` in [-1, 1]."""
        return read_clip(next(c for c in self._datasets["test"].clips if c.name == name))

    def sources_of_clips(self) -> dict[str, str]:
        """The video that each test clip is cut from, by the clip's name."""
        return {clip.name: str(clip.video) for clip in self._datasets["test"].clips}

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The test clips."""
        return self.test_dataloader()

    def _fixed_loader(self, part: str) -> DataLoader[dict[str, Any]]:
        dataset = self._datasets[part]
        sampler: DistributedSampler[Any] = DistributedSampler(
            dataset, world_size(), rank(), shuffle=False
        )
        # By its name: Lightning builds loaders of predict anew.
        options = {"batch_size": self.batch_size, **self._loader_options()}
        return DataLoader(dataset, sampler=sampler, **options)

    def _loader_options(self) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return {
            **worker_options(self.num_workers, world_size()),
            "persistent_workers": self.num_workers > 0,
            "pin_memory": on_gpu,
        }

    def on_after_batch_transfer(self, batch: StoredBatch, dataloader_idx: int) -> ClipBatch:
        """Converts the batch where it is used: half as many bytes are moved there."""
        return to_clip_batch(batch)


def _flat(parts: Iterable[Iterable[Iterable[Clip]]]) -> list[Clip]:
    return [clip for sources in parts for clips in sources for clip in clips]
