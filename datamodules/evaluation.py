"""What the data sets of the paper's tables have in common: prompts, true clips, a protocol."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from tqdm import tqdm

from datamodules.loader import worker_options
from movideo.clips.batch import EvaluationBatch
from movideo.clips.clip import middle_times
from movideo.errors import UserError, VideoError, check_ranges
from movideo.storage.digest import hex_digest
from movideo.video.decoding.pixels import to_float
from movideo.video.frame_folders import read_frame_pixels
from movideo.video.read import VideoInfo, probe, read_pixels

logger = logging.getLogger(__name__)

Description = dict[str, str | int | float]
"""How samples come about, in words and numbers that a report prints; no paths."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class TrueClip:
    """Frames of a data set's video.

    Attributes:
        name: of the video within its data set.
        path: its file, or the folder of its frames.
        times: seconds since its first frame, of every frame of the clip.
        fps: frames per second of the clip.
        video_fps: of the video.
    """

    name: str
    path: Path
    times: tuple[float, ...]
    fps: float
    video_fps: float

    def read(self, size: tuple[int, int]) -> Tensor:
        """`(F, 3, H, W)` RGB bytes: shorter side resized, centre cropped.

        Raises:
            VideoError: it cannot be read.
        """
        if self.path.is_dir():
            return read_frame_pixels(self.path, self.video_fps, self.times, size)
        return read_pixels(self.path, self.times, size, distinct=True)


@dataclass(frozen=True)
class Sample:
    """A video to be made.

    Attributes:
        name: no two alike; a file may be called so, with subfolders.
        prompt: what it is to show, where the data set says it in words.
        clip: what it is measured against; several samples may share one.
    """

    name: str
    prompt: str | None = None
    clip: TrueClip | None = None


class EvaluationDataModule(L.LightningDataModule):
    """The samples of a data set, each once and in a fixed order: for `movideo test` alone.

    A true clip lies in the middle of its video: of all frames from which `num_frames` distinct ones
    follow at `fps`, it starts at the middle one. Videos too short for that and videos that cannot
    be decoded are left out, named in a warning and counted in the protocol: no frame is repeated. A
    file that is listed and missing ends the run.

    Processes take whole batches in turn, without padding or repeats. So batches are the same with
    any number of processes, and so are metrics, to the last digit.

    Args:
        num_frames: F, frames of a video.
        size: `(H, W)`; of true clips the shorter side is resized, the centre cropped.
        fps: frames per second; None takes consecutive frames at each video's own rate, which the
            model is told.
        key_index: where the key frame stands, the centre by default.
        limit: at most so many samples, spread evenly over the whole list.
        batch_size: videos made at once on each process.
        num_workers: processes that read clips.

    Raises:
        UserError: a number is out of range.
    """

    data_set: ClassVar[str]
    layout: ClassVar[str] = ""

    def __init__(
        self,
        num_frames: int = 17,
        size: tuple[int, int] = (256, 256),
        fps: float | None = 3.0,
        key_index: int | None = None,
        limit: int | None = None,
        batch_size: int = 4,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        # With more processes than batches some have nothing to do.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.num_frames = num_frames
        self.size = size
        self.fps = fps
        self.key_index = num_frames // 2 if key_index is None else key_index
        self.limit = limit
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._check()

    def _check(self) -> None:
        last = self.num_frames - 1
        ranges = {
            "num_frames": (self.num_frames > 0, "1 or more"),
            "size": (min(self.size) > 0, "1 or more pixels"),
            "fps": (self.fps is None or 0 < self.fps < float("inf"), "a finite number above 0"),
            "key_index": (0 <= self.key_index <= last, f"0 to num_frames - 1, {last}"),
            "limit": (self.limit is None or self.limit > 0, "1 or more"),
            "batch_size": (self.batch_size > 0, "1 or more"),
            "num_workers": (self.num_workers >= 0, "0 or more"),
        }
        check_ranges("data.{}", vars(self), ranges)

    # ------------------------------------------------------------------- what a data set says of it

    @abstractmethod
    def videos(self) -> dict[str, Path]:
        """Listed videos, files or folders of frames, by their names; none where there are none.

        Raises:
            UserError: a list is missing, or none.
        """

    @abstractmethod
    def list_samples(self, clips: dict[str, TrueClip]) -> list[Sample]:
        """All samples in a fixed order.

        Args:
            clips: the true clips by their videos' names, without what was left out.
        """

    @abstractmethod
    def described(self) -> Description:
        """What the protocol says of this data set in particular."""

    def probe(self, path: Path) -> VideoInfo:
        """When the frames of a video are shown.

        Raises:
            VideoError: it cannot be decoded.
        """
        return probe(path)

    # -------------------------------------------------------------------------------------- samples

    def prepare_data(self) -> None:
        """Ends a run of which nothing can come before it has written anything."""
        self._check_all_there(self.videos())

    def setup(self, stage: str) -> None:
        """Lists the samples; opens every video to find its clip, with a progress bar.

        Raises:
            UserError: it is not for a test; a list or a listed video is missing; nothing is left.
        """
        if stage != "test":
            self._refuse()
        self._found  # noqa: B018  (computed now, and not while the first batch is waited for)

    def samples(self) -> list[Sample]:
        """All samples, those of other processes too."""
        return self._found.samples

    def true_clip(self, name: str) -> Tensor | None:
        """What a sample is measured against, `(F, 3, H, W)` in [-1, 1], if there is anything."""
        clip = next(sample.clip for sample in self.samples() if sample.name == name)
        return None if clip is None else to_float(clip.read(self.size))

    def sources_of_clips(self) -> dict[str, str]:
        """The clip that each sample is measured against, or else itself, by the sample's name."""
        return {s.name: s.name if s.clip is None else s.clip.name for s in self.samples()}

    def protocol(self) -> Description:
        """How the samples come about; two runs with the same protocol saw the same samples."""
        samples = self.samples()
        clips = list({s.clip.name: s.clip for s in samples if s.clip is not None}.values())
        protocol: Description = {
            "data set": self.data_set,
            **self.described(),
            "samples": len(samples),
            "sample list": _digest(samples),
            "frames": self.num_frames,
            "size": "{}x{}".format(*self.size),
            "key frame": self.key_index,
        }
        if not clips:
            return protocol | {"fps": _span([self.fps or 0.0])}
        own = " (the videos' own)" if self.fps is None else ""
        return protocol | {
            "fps": _span(clip.fps for clip in clips) + own,
            "stride": _span(clip.video_fps / clip.fps for clip in clips),
            "resized": "shorter side, centre crop",
            "starts": "in the middle of the video",
            "true clips": len(clips),
            "left out, too short": len(self._found.short),
            "left out, damaged": len(self._found.damaged),
            "damaged": ", ".join(self._found.damaged) or "none",
        }

    @cached_property
    def _found(self) -> _Found:
        videos = self.videos()
        self._check_all_there(videos)
        clips, short, damaged = self._find_clips(videos)
        self._report(len(videos), short, damaged)
        if videos and not clips:
            name, reason = next(iter((damaged | short).items()))
            raise UserError(
                f"data: none of {len(videos)} videos can be used, {name}: {reason}; "
                "give fewer data.num_frames or another data.fps (null: the videos' own)"
            )
        samples = _spread(self.list_samples(clips), self.limit)
        names = [sample.name for sample in samples]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"data: {self.data_set} lists {twice} twice; unpack its lists again")
        return _Found(samples, short, damaged)

    def _check_all_there(self, videos: dict[str, Path]) -> None:
        missing = [path for path in videos.values() if not path.exists()]
        if missing:
            raise UserError(
                f"{missing[0]}: listed and missing ({len(missing)} of {len(videos)} are); "
                f"{self.data_set} has {self.layout}"
            )

    def _find_clips(
        self, videos: dict[str, Path]
    ) -> tuple[dict[str, TrueClip], dict[str, str], dict[str, str]]:
        """The clips, and why there is none of the videos that are too short or damaged."""
        clips, short, damaged = dict[str, TrueClip](), dict[str, str](), dict[str, str]()
        with ThreadPoolExecutor() as pool:  # disks of a cluster are slow to open files
            infos = pool.map(self._try_probe, videos.values())
            bar = tqdm(infos, "reading videos", len(videos), unit="video", delay=2)
            for (name, path), info in zip(videos.items(), bar, strict=True):
                if isinstance(info, VideoError):
                    damaged[name] = str(info).removeprefix(f"{path}: ")
                elif info.cut:  # the middle of what is left is not the middle of the video
                    damaged[name] = f"ends early, after {info.duration:.2f} s"
                elif (times := middle_times(info, self.num_frames, self.fps)) is None:
                    short[name] = self._too_short(info)
                else:
                    clips[name] = TrueClip(name, path, times, self.fps or info.fps, info.fps)
        return clips, short, damaged

    def _try_probe(self, path: Path) -> VideoInfo | VideoError:
        try:
            return self.probe(path)
        except VideoError as error:
            return error

    def _too_short(self, info: VideoInfo) -> str:
        rate = "" if self.fps is None else f" at {self.fps:g} fps"
        return (
            f"{len(info.times)} frames at {info.fps:.5g} fps do not give "
            f"{self.num_frames} distinct ones{rate}"
        )

    def _report(self, total: int, short: dict[str, str], damaged: dict[str, str]) -> None:
        if left := damaged | short:
            lines = "".join(f"\n  {name}: {reason}" for name, reason in left.items())
            logger.warning("left out %d of %d videos:%s", len(left), total, lines)

    # -------------------------------------------------------------------------------------- batches

    def test_dataloader(self) -> DataLoader[Any]:
        """This process's batches: every n-th of all."""
        trainer = self.trainer
        rank, processes = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        on_gpu = trainer is not None and trainer.strategy.root_device.type == "cuda"
        samples, step = self.samples(), self.batch_size
        # The last batch may be smaller; it is the last of its process too.
        firsts = range(rank * step, len(samples), processes * step)
        share = [sample for first in firsts for sample in samples[first : first + step]]
        dataset = _Samples(share, self.size, self.fps, self.key_index)
        return DataLoader(
            dataset,
            batch_size=step,
            # All of it: without a sampler of this kind Lightning would share it once more.
            sampler=DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=False),
            pin_memory=on_gpu,
            **worker_options(self.num_workers, processes),
        )

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> Any:
        """The `EvaluationBatch` of what was read; converted where it is used, after bytes moved."""
        made = EvaluationBatch(
            name=batch["name"],
            fps=batch["fps"],
            key_index=batch["key_index"],
            num_frames=self.num_frames,
            size=self.size,
        )
        if "video" in batch:
            made["video"] = to_float(batch["video"])
            made["reference"] = batch["reference"]
        if "prompt" in batch:
            made["prompt"] = batch["prompt"]
        return made

    def train_dataloader(self) -> NoReturn:
        """Refuses."""
        self._refuse()

    def val_dataloader(self) -> NoReturn:
        """Refuses."""
        self._refuse()

    def predict_dataloader(self) -> NoReturn:
        """Refuses."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UserError(
            f"datamodules.{type(self).__name__}: only to test on; use it with movideo test"
        )


@dataclass(frozen=True)
class _Found:
    """Samples, and the videos left out with the reason by their names."""

    samples: list[Sample]
    short: dict[str, str]
    damaged: dict[str, str]


class _Samples(Dataset[dict[str, Any]]):
    """Reads samples as `EvaluationBatch` has them, without B, with the video in bytes."""

    def __init__(
        self, samples: Sequence[Sample], size: tuple[int, int], fps: float | None, key_index: int
    ) -> None:
        self.samples = samples
        self.size = size
        self.fps = fps
        self.key_index = key_index

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        clip = sample.clip
        fps = self.fps if clip is None else clip.fps
        read = {"name": sample.name, "fps": torch.tensor(fps), "key_index": self.key_index}
        if sample.prompt is not None:
            read["prompt"] = sample.prompt
        if clip is not None:
            read |= {"video": clip.read(self.size), "reference": clip.name}
        return read


def _spread(listed: list[Item], limit: int | None) -> list[Item]:
    """At most `limit` of them, evenly spaced."""
    count = len(listed) if limit is None else min(limit, len(listed))
    return [listed[index * len(listed) // count] for index in range(count)]


def _digest(samples: Sequence[Sample]) -> str:
    """16 hex digits that tell lists of samples apart, their frames too."""
    text = ""
    for sample in samples:
        clip = sample.clip
        frames = [] if clip is None else [clip.name, *(f"{time:.4f}" for time in clip.times)]
        text += "\t".join([sample.name, sample.prompt or "", *frames, "\n"])
    return hex_digest(text)[:16]


def _span(numbers: Iterable[float]) -> str:
    """One number, or the least and the greatest."""
    rounded = sorted({round(number, 3) for number in numbers})
    return f"{rounded[0]:g}" if len(rounded) == 1 else f"{rounded[0]:g} to {rounded[-1]:g}"
