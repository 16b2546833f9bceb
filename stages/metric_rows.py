"""What a stage's test measures: its metrics on what the stage made, and on baselines beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from movideo.clips.batch import ClipBatch, key_frames
from movideo.metrics import (
    PSNR,
    KeyFrameWarpError,
    MeasuredClips,
    OccludedShare,
    RandomFeatureDistance,
    ResamplingPSNR,
    VideoMetric,
)
from movideo.motion.labels import label_motion
from movideo.motion.space import Motion
from movideo.ops import warp

OWN, TRUTH = "", "truth"  # what the stage made; the true clips themselves


class MetricRows(nn.Module):
    """A copy of each metric for each row.

    What says something about the clips alone (`higher_is_better` None) is measured on the stage's
    own row; the row of the true clips has the metrics that compare with nothing.

    Args:
        metrics: the stage's; their networks are frozen, and shared by the copies.

    Attributes:
        listed: the same.
    """

    def __init__(self, metrics: Sequence[VideoMetric]) -> None:
        super().__init__()
        self.metrics = nn.ModuleList(metrics)
        self.listed = list(metrics)  # the same, with their types
        self._rows: dict[str, dict[str, VideoMetric]] = {}

    def update(self, rows: Mapping[str, MeasuredClips]) -> None:
        """Takes in a batch of clips as each row has them."""
        for row, clips in rows.items():
            for metric in self.listed:
                about_clips = metric.higher_is_better is None
                compares = "truth" in metric.needs
                if metric.fits(clips) and not (
                    (about_clips and row != OWN) or (compares and row == TRUTH)
                ):
                    self._row(row).setdefault(metric.key, deepcopy(metric)).update(clips)

    def compute(self) -> dict[str, dict[str, Tensor]]:
        """The values by row and the metrics' keys; with several processes each has to call it."""
        return {
            row: {key: metric.compute() for key, metric in metrics.items()}
            for row, metrics in self._rows.items()
        }

    def logged(self) -> dict[str, Tensor]:
        """The same as they are logged: `test/psnr`, and `test/psnr_repeat` of the row `repeat`."""
        return {
            f"test/{key}_{row}" if row else f"test/{key}": value
            for row, values in self.compute().items()
            for key, value in values.items()
        }

    def reset(self) -> None:
        """Forgets the clips seen so far."""
        self._rows = {}

    def _row(self, row: str) -> dict[str, VideoMetric]:
        return self._rows.setdefault(row, {})


def generation_metrics() -> list[VideoMetric]:
    """What generated videos are measured by where nothing else is asked for."""
    return [
        PSNR("others"),
        PSNR("occluded"),
        RandomFeatureDistance(),
        KeyFrameWarpError(),
        OccludedShare(),
        ResamplingPSNR(),
    ]


def generation_rows(batch: ClipBatch, video: Tensor, motion: Motion) -> dict[str, MeasuredClips]:
    """Generated videos beside what costs nothing: repeating and warping the key frame.

    Args:
        batch: the true clips.
        video: `(B, F, 3, H, W)`, generated of their key frames.
        motion: that it was generated under.
    """
    key = key_frames(batch["video"], batch["key_index"])[:, None]
    videos = {
        OWN: video,
        "repeat": key.expand_as(video),
        "warp": warp(key, motion.flow_i2v),
        TRUTH: batch["video"],
    }
    return {row: measured(batch, made, motion) for row, made in videos.items()}


def measured(batch: ClipBatch, video: Tensor, motion: Motion | None) -> MeasuredClips:
    """Videos that were made of a batch, beside its clips.

    Args:
        batch: the true clips.
        video: `(B, F, 3, H, W)`.
        motion: that the videos were asked to have.
    """
    return MeasuredClips(
        names=batch["name"],
        video=video.clamp(-1, 1),
        fps=batch["fps"],
        key_index=batch["key_index"],
        truth=batch["video"],
        references=batch["name"],
        motion=motion,
        true_motion=label_motion(batch) if "depth" in batch else None,
    )


def measured_frames(batch: ClipBatch, video: Tensor) -> MeasuredClips:
    """The same with every frame as a clip of its own: what is made frame by frame."""
    frames = video.shape[1]
    names = [f"{name}/{frame}" for name in batch["name"] for frame in range(frames)]
    return MeasuredClips(
        names=names,
        video=video.flatten(0, 1)[:, None],
        fps=batch["fps"].repeat_interleave(frames),
        key_index=torch.zeros(len(names), dtype=torch.long, device=video.device),
        truth=batch["video"].flatten(0, 1)[:, None],
        references=names,
    )
