"""The motion of another video, carried onto a new key frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.estimators import DepthEstimator, DISFlow, FlowEstimator, ParallaxDepth
from movideo.motion.base import ClipShape, MotionSource
from movideo.motion.carry import carry_motion
from movideo.motion.space import Motion
from movideo.shards.labels import label_clip
from movideo.video.read import TOLERANCE, probe, read_frames


@dataclass(frozen=True)
class VideoMotion(MotionSource):
    """What moves in a video, moves in the same place of the new one.

    Its first `num_frames / fps` seconds are read at the asked rate and size, cropped as an image
    is. Flow out of its own frame `key_index`, and depth there, are estimated and kept; what each
    frame sees follows from them.

    Args:
        path: the video.
        flow_estimator: gives the flow.
        depth_estimator: gives the depth, which decides what passes in front.
    """

    path: str
    flow_estimator: FlowEstimator = field(default_factory=DISFlow)
    depth_estimator: DepthEstimator = field(default_factory=ParallaxDepth)

    @override
    def motion(
        self, clip: ClipShape, generate: Callable[..., Motion], strength: float = 1.0
    ) -> Motion:
        video = self._read(clip)
        labels = label_clip(video, clip.key_index, self.depth_estimator, self.flow_estimator)
        depth = labels.aligned_depth[clip.key_index]
        return carry_motion(labels.flow_v2i[None] * strength, depth[None, None])

    def _read(self, clip: ClipShape) -> Tensor:
        info = probe(Path(self.path))
        span = (clip.num_frames - 1) / clip.fps
        if span > info.duration + TOLERANCE:
            raise UserError(
                f"{self.path}: too short: {info.duration:.2f} s, where {clip.num_frames} frames at "
                f"{clip.fps:g} fps take {span:.2f} s; give fewer --num_frames or a higher --fps"
            )
        if clip.num_frames > 1 and clip.fps > info.fps * (1 + TOLERANCE):
            raise UserError(
                f"{self.path}: has {info.fps:.5g} frames a second, --fps {clip.fps:g} asks for "
                f"more; give at most --fps {info.fps:.5g}"
            )
        times = [index / clip.fps for index in range(clip.num_frames)]
        return read_frames(self.path, times, clip.size, distinct=True)
