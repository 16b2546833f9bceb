"""The space in which stage 1 diffuses: depth and both flows as five channels of unit variance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import ClassVar, Self

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from typing_extensions import override

from movideo.hub.config_part import ConfigPart
from movideo.motion.visibility import Consistency, Visibility
from movideo.ops import estimate_flow_scale, normalize_depth, normalize_flow, resize, resize_flow
from movideo.ops.flow_scale import SMALLEST
from movideo.ops.length import vector_length


@dataclass(frozen=True)
class Motion:
    """A clip's motion at full resolution.

    Attributes:
        depth: `(B, F, 1, H, W)` in [-1, 1], near is large.
        flow_i2v: `(B, F, 2, H, W)`, pixels, from each frame into the key frame.
        flow_v2i: `(B, F, 2, H, W)`, pixels, from the key frame into each frame.
        visibility: the rule by which the flows say what the key frame shows; Eq. 11 by default.
        level: `(B,)`, how far off it is (see `movideo.motion.noise`); exact by default.
    """

    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor
    visibility: Visibility = field(default_factory=Consistency)
    level: Tensor | None = None

    @property
    def visible(self) -> Tensor:
        """`(B, F, 1, H, W)`: 1.0 where the key frame shows what is there, 0.0 where occluded."""
        return self.visibility(self.flow_i2v, self.flow_v2i, self.depth)

    def fields(self) -> dict[str, Tensor]:
        """Depth and both flows by name."""
        return {"depth": self.depth, "flow_i2v": self.flow_i2v, "flow_v2i": self.flow_v2i}

    def map(self, function: Callable[[Tensor], Tensor]) -> Motion:
        """The same with a function of depth and of both flows in their place."""
        depth, flow_i2v, flow_v2i = map(function, self.fields().values())
        return Motion(depth, flow_i2v, flow_v2i, self.visibility, self.level)


class MotionSpace(ConfigPart):
    """Maps labels to the diffusion's target and samples back to pixels (MoVideo Eq. 6 to 10).

    Normalised flow is small almost everywhere. Dividing by the standard deviations measured on the
    training labels keeps a noise schedule made for unit variance from drowning it.

    Args:
        grid: `(h, w)` of the motion grid of square videos. Of others the shorter side has as many
            cells, and the longer one more; a grid that is not square is that of all.
        depth_std: standard deviation of normalised depth over the training labels.
        flow_std: standard deviation of normalised flow over the training labels.
        depth_mean: of normalised depth over the training labels.

    Attributes:
        channels: of `encode`'s result.
    """

    channels: ClassVar[int] = 5  # depth, flow_i2v (dx, dy), flow_v2i (dx, dy)

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        grid: tuple[int, int] = (32, 32),
        depth_std: float = 1.0,
        flow_std: float = 1.0,
        depth_mean: float = 0.0,
    ) -> None:
        self.grid = (int(grid[0]), int(grid[1]))
        self.depth_std = depth_std
        self.flow_std = flow_std
        self.depth_mean = depth_mean

    def grid_of(self, size: Sequence[int]) -> tuple[int, int]:
        """The motion grid of videos of a size `(H, W)`, or of their labels: cells stay square."""
        if self.grid[0] != self.grid[1]:
            return self.grid
        height, width = (round(self.grid[0] * side / min(size)) for side in size[-2:])
        return height, width

    def scaled(self, depth_mean: float, depth_std: float, flow_std: float) -> Self:
        """The same space for labels of this mean and these standard deviations."""
        found = {"depth_mean": depth_mean, "depth_std": depth_std, "flow_std": flow_std}
        # One of somebody else's may know no mean, and then has none.
        taken = signature(type(self)).parameters
        arguments = {k: v for k, v in {**self.config, **found}.items() if k in taken}
        space: Self = type(self)(**arguments)
        return space

    def encode(self, depth: Tensor, flow_i2v: Tensor, flow_v2i: Tensor) -> Tensor:
        """Labels to the target of stage 1.

        Args:
            depth: `(B, F, 1, H, W)`, any scale.
            flow_i2v: `(B, F, 2, H, W)`, pixels.
            flow_v2i: `(B, F, 2, H, W)`, pixels.

        Returns:
            `(B, F, 5, h, w)` on the motion grid of these labels, mean near 0, deviation near 1.
        """
        motion = self.normalize(depth, flow_i2v, flow_v2i)
        flows = torch.cat([motion.flow_i2v, motion.flow_v2i], dim=2)
        depth_channel = (motion.depth - self.depth_mean) / self.depth_std
        return torch.cat([depth_channel, flows / self.flow_std], dim=2)

    def normalize(self, depth: Tensor, flow_i2v: Tensor, flow_v2i: Tensor) -> Motion:
        """Labels on the motion grid, depth in [-1, 1] and flow vectors no longer than 1.

        The order matters: resized first, then normalised jointly over the clip (Eq. 7 to 9).
        Arguments as for `encode`.
        """
        flow_i2v, flow_v2i, _ = self.normalize_flow(*self._on_grid(flow_i2v, flow_v2i))
        return Motion(self.normalize_depth(depth), flow_i2v, flow_v2i)

    def _on_grid(self, *flows: Tensor) -> tuple[Tensor, ...]:
        return tuple(resize_flow(flow, self.grid_of(flow.shape[-2:])) for flow in flows)

    def normalize_flow(self, flow_i2v: Tensor, flow_v2i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both flows on the motion grid, divided by one scale; and the scale, in its pixels."""
        return normalize_flow(flow_i2v, flow_v2i)

    def log_scale(self, flow_i2v: Tensor, flow_v2i: Tensor) -> Tensor:
        """Logarithm `(B,)` of what both flows are divided by, as a share of the longer side.

        Arguments as for `encode`.
        """
        flows = self._on_grid(flow_i2v, flow_v2i)
        *_, scale = self.normalize_flow(*flows)
        return (scale.clamp(min=SMALLEST) / max(flows[0].shape[-2:])).log()

    def normalize_depth(self, depth: Tensor) -> Tensor:
        """Depth alone, `(B, F, 1, H, W)` of any scale: what stage 2 is shown as well."""
        return normalize_depth(resize(depth, self.grid_of(depth.shape[-2:])))

    def split(self, sample: Tensor, key_index: Tensor) -> Motion:
        """A sample `(B, F, 5, h, w)` as normalised motion on its grid.

        The flows are zero at the key frame `(B,)`.
        """
        depth = (sample[:, :, :1] * self.depth_std + self.depth_mean).clamp(-1, 1)
        moves = torch.arange(sample.shape[1], device=sample.device)[None] != key_index[:, None].to(
            sample.device
        )
        flows = sample[:, :, 1:] * self.flow_std * moves[:, :, None, None, None]
        return Motion(depth=depth, flow_i2v=flows[:, :, :2], flow_v2i=flows[:, :, 2:])

    def decode(
        self,
        sample: Tensor,
        key_index: Tensor,
        size: tuple[int, int],
        bounds: tuple[Tensor, Tensor] | None = None,
    ) -> Motion:
        """A sample of stage 1 as motion in pixels, the flow's scale recovered from depth (Eq. 10).

        Args:
            sample: `(B, F, 5, h, w)`.
            key_index: `(B,)`.
            size: `(H, W)` of the video.
            bounds: of the scale, `(B,)` each, as `log_scale` gives it, expected in the middle and
                two deviations from either; anywhere by default.
        """
        motion = self.split(sample.float(), key_index)
        scale = self.flow_scale(motion, key_index, bounds)[..., None, None, None]
        return Motion(
            depth=resize(motion.depth, size),
            flow_i2v=resize_flow(motion.flow_i2v * scale, size),
            flow_v2i=resize_flow(motion.flow_v2i * scale, size),
        )

    def flow_scale(
        self, motion: Motion, key_index: Tensor, bounds: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """What `normalize` divided flow by, in grid pixels: one for each clip, `(B, 1)` (Eq. 10).

        Args:
            motion: normalised, on the motion grid.
            key_index: `(B,)`.
            bounds: as for `decode`.
        """
        if bounds is not None:
            side = math.log(max(motion.depth.shape[-2:]))
            bounds = bounds[0] + side, bounds[1] + side
        fields = motion.depth, motion.flow_i2v, motion.flow_v2i
        return estimate_flow_scale(*fields, key_index, bounds, is_expected=True)[:, None]


class QuantileMotionSpace(MotionSpace):
    """Normalises by quantiles instead of by the farthest point and the longest vector.

    A maximum is an outlier's: of a static camera's noise the median vector may be a hundredth of a
    pixel and the longest ten. And it divides flow by a floor at least, about half a pixel of the
    video, so that a still clip is near zero.

    Args:
        grid: see `MotionSpace`.
        depth_std: likewise.
        flow_std: likewise.
        quantile: share of the points, and of the vectors, that is cut off.
        floor: share of the longer side; half a pixel of 256 by default.
        depth_mean: see `MotionSpace`.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        grid: tuple[int, int] = (32, 32),
        depth_std: float = 1.0,
        flow_std: float = 1.0,
        quantile: float = 0.001,
        floor: float = 1 / 512,
        depth_mean: float = 0.0,
    ) -> None:
        super().__init__(grid, depth_std, flow_std, depth_mean)
        self.quantile = quantile
        self.floor = floor

    @override
    def normalize_flow(self, flow_i2v: Tensor, flow_v2i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        floor = self.floor * max(flow_i2v.shape[-2:])
        return normalize_flow(flow_i2v, flow_v2i, self.quantile, floor)

    @override
    def normalize_depth(self, depth: Tensor) -> Tensor:
        return normalize_depth(resize(depth, self.grid_of(depth.shape[-2:])), self.quantile)

    @override
    def split(self, sample: Tensor, key_index: Tensor) -> Motion:
        """As of every space; vectors longer than 1 are shortened to it, as in normalisation."""
        motion = super().split(sample, key_index)
        i2v, v2i = (
            flow / vector_length(flow).clamp(min=1).unsqueeze(-3)
            for flow in (motion.flow_i2v, motion.flow_v2i)
        )
        return replace(motion, flow_i2v=i2v, flow_v2i=v2i)


class PerFrameMotionSpace(MotionSpace):
    """Normalises every frame by itself: the baseline of MoVideo's third remark.

    Frames are then no longer comparable: depth has a range of its own in each, and the scale of
    each frame's flows has to be found from two depth maps of different ranges. The remark is about
    Eq. 7 to 9, and stage 2 is shown the depth of Eq. 7, so both stages are trained in this space.
    """

    def normalize(self, depth: Tensor, flow_i2v: Tensor, flow_v2i: Tensor) -> Motion:
        """See `MotionSpace.normalize`; every frame is a clip of its own."""
        depth_clips, i2v_clips, v2i_clips = map(_as_clips, (depth, flow_i2v, flow_v2i))
        motion = super().normalize(depth_clips, i2v_clips, v2i_clips)
        return motion.map(lambda field: _as_frames(field, len(depth)))

    def normalize_depth(self, depth: Tensor) -> Tensor:
        """See `MotionSpace.normalize_depth`; every frame is a clip of its own."""
        return _as_frames(super().normalize_depth(_as_clips(depth)), len(depth))

    def flow_scale(
        self, motion: Motion, key_index: Tensor, bounds: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """One for each frame, `(B, F)`: Eq. 10 on pairs of the key frame and that frame.

        Frames move less than the clip's farthest, so bounds hold from above alone.
        """
        count, frames = motion.depth.shape[:2]
        key_depth = motion.depth[torch.arange(count, device=motion.depth.device), key_index]
        keys = key_depth[:, None].expand_as(motion.depth)

        def pairs(of_key: Tensor, of_frame: Tensor) -> Tensor:
            return torch.stack([of_key, of_frame], dim=2).flatten(0, 1)

        scales = estimate_flow_scale(
            pairs(keys, motion.depth),
            pairs(torch.zeros_like(motion.flow_i2v), motion.flow_i2v),
            pairs(torch.zeros_like(motion.flow_v2i), motion.flow_v2i),
            key_index=0,
            bounds=bounds and _of_frames(bounds[1], motion.depth),
        )
        return scales.view(count, frames)


def _of_frames(highest: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    high = (highest + math.log(max(like.shape[-2:]))).repeat_interleave(like.shape[1])
    return torch.full_like(high, math.log(SMALLEST)).minimum(high), high


def _as_clips(frames: Tensor) -> Tensor:
    """`(B, F, …)` as `(B F, 1, …)`."""
    return frames.flatten(0, 1)[:, None]


def _as_frames(clips: Tensor, count: int) -> Tensor:
    """`(B F, 1, …)` as `(B, F, …)`, with B = `count`."""
    return clips.view(count, -1, *clips.shape[2:])
