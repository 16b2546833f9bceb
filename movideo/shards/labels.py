"""Clips in, pseudo-labels out: depth and flow from pretrained or weight-free estimators."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from movideo.clips.clip import Clip, read_clip
from movideo.errors import UserError
from movideo.estimators import DepthEstimator, FlowEstimator
from movideo.estimators.depth_alignment import align_frames
from movideo.ops import resize, resize_flow
from movideo.shards.producer import RowProducer
from movideo.shards.shard import ClipLabels

if TYPE_CHECKING:
    from movideo.motion.space import MotionSpace

PAIRS_PER_BATCH = 16  # the memory of a learned flow estimator grows with it


def label_clip(
    video: Tensor,
    key_index: int,
    depth_estimator: DepthEstimator,
    flow_estimator: FlowEstimator,
    grid: tuple[int, int] | None = None,
) -> ClipLabels:
    """Estimates depth, both flows and the alignment of depth, at the video's own resolution.

    Args:
        video: `(F, 3, H, W)`, RGB in [-1, 1].
        key_index: index of the key frame, where both flows are exactly 0.
        depth_estimator: gives the depth.
        flow_estimator: gives the flows.
        grid: `(h, w)` that the labels are brought to at the end; the video's by default.
    """
    key = video[key_index].expand_as(video)
    with torch.no_grad():
        depth = depth_estimator(video)
        flow_i2v = _estimate_flow(video, key, key_index, flow_estimator)
        flow_v2i = _estimate_flow(key, video, key_index, flow_estimator)
    alignment = align_frames(depth, flow_i2v, flow_v2i, key_index)
    if grid is not None:
        depth = resize(depth, grid)
        flow_i2v, flow_v2i = resize_flow(flow_i2v, grid), resize_flow(flow_v2i, grid)
    return ClipLabels(depth, flow_i2v, flow_v2i, alignment)


def _estimate_flow(
    source: Tensor, target: Tensor, key_index: int, estimator: FlowEstimator
) -> Tensor:
    pairs = zip(source.split(PAIRS_PER_BATCH), target.split(PAIRS_PER_BATCH), strict=True)
    flow = torch.cat([estimator(*pair) for pair in pairs])
    flow[key_index] = 0
    return flow


@dataclass(frozen=True)
class LabelProducer(RowProducer[ClipLabels]):
    """Reads clips and labels them.

    Attributes:
        depth_estimator: gives the depth.
        flow_estimator: gives the flows.
        grid: `(h, w)` to store labels at; each clip's own size by default.
        device: where the estimators run.
    """

    kind = ClipLabels

    depth_estimator: DepthEstimator
    flow_estimator: FlowEstimator
    grid: tuple[int, int] | None = None
    device: torch.device | str = "cpu"

    @property
    @override
    def settings(self) -> dict[str, Any]:
        return {
            "depth": self.depth_estimator.settings(),
            "flow": self.flow_estimator.settings(),
            "grid": None if self.grid is None else list(self.grid),
        }

    @property
    @override
    def networks(self) -> Sequence[nn.Module]:
        return self.depth_estimator, self.flow_estimator

    @override
    def make(self, clip: Clip) -> ClipLabels:
        video = read_clip(clip).to(self.device)
        depth, flow = self.depth_estimator.to(self.device), self.flow_estimator.to(self.device)
        return label_clip(video, clip.key_index, depth, flow, self.grid)


@dataclass(frozen=True)
class ScaleLaw:
    """How far things move in so much time: a line through the logarithms of both.

    Attributes:
        intercept: of the log scale (see `MotionSpace.log_scale`), at one second.
        slope: of the log scale over the log of time; 1 is a constant speed.
        spread: standard deviation of what is left.
    """

    intercept: float
    slope: float
    spread: float


@dataclass(frozen=True)
class LabelStatistics:
    """Of normalised labels on a motion grid.

    Mean and deviations bring each channel group near unit variance.

    Attributes:
        depth_mean: of depth in [-1, 1] (MoVideo Eq. 7).
        depth_std: likewise, the standard deviation; 1 if all depth is flat.
        flow_std: of both flows, longest vector 1 (MoVideo Eq. 8, 9); 1 if nothing moves.
        scale_law: of what the flows were divided by, over the longest time that a clip has.
    """

    depth_mean: float
    depth_std: float
    flow_std: float
    scale_law: ScaleLaw


def label_statistics(
    labels: Iterable[tuple[ClipLabels, float]], space: MotionSpace
) -> LabelStatistics:
    """Measures labels as stage 1 sees them: brought to the motion grid, then normalised.

    Args:
        labels: of the training clips, read one at a time, each with its clip's `reach`.
        space: its grid and its way to normalise; its own deviations do not matter.

    Raises:
        UserError: there are no labels.
    """
    depth_moments = torch.zeros(3, dtype=torch.float64)
    flow_moments = torch.zeros(3, dtype=torch.float64)
    times, scales = [], []
    for clip, reach in labels:
        labelled = clip.aligned_depth, clip.flow_i2v, clip.flow_v2i
        motion = space.normalize(*(field[None] for field in labelled))
        times.append(math.log(reach) if reach > 0 else 0.0)
        scales.append(float(space.log_scale(clip.flow_i2v[None], clip.flow_v2i[None])))
        depth_moments += _moments(motion.depth)
        flow_moments += _moments(torch.stack([motion.flow_i2v, motion.flow_v2i]))
    if not depth_moments[0]:
        raise UserError("no labels to take statistics from; run `movideo precompute`")
    return LabelStatistics(
        float(depth_moments[1] / depth_moments[0]),
        _std(depth_moments),
        _std(flow_moments),
        scale_law(times, scales),
    )


def scale_law(log_times: Sequence[float], log_scales: Sequence[float]) -> ScaleLaw:
    """The line through them by least squares; of a constant speed where all times are alike."""
    times, scales = np.asarray(log_times), np.asarray(log_scales)
    slope = float(np.polyfit(times, scales, 1)[0]) if np.ptp(times) > 1e-6 else 1.0
    rest = scales - slope * times
    return ScaleLaw(float(rest.mean()), float(slope), float(rest.std()))


def _moments(values: Tensor) -> Tensor:
    """Count, sum and sum of squares."""
    values = values.double()
    return torch.stack([torch.tensor(float(values.numel())), values.sum(), values.square().sum()])


def _std(moments: Tensor) -> float:
    count, total, squares = moments.tolist()
    return math.sqrt(max(squares / count - (total / count) ** 2, 0.0)) or 1.0
