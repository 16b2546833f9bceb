"""The space in which stage 1 diffuses: depth and both flows as five channels of unit variance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor

from movideo.ops import estimate_flow_scale, normalize_depth, normalize_flow, resize, resize_flow

CHANNELS = 5  # depth, flow_i2v (dx, dy), flow_v2i (dx, dy)


@dataclass(frozen=True)
class Motion:
    """A clip's motion at full resolution.

    Attributes:
        depth: `(B, F, 1, H, W)` in [-1, 1], near is large.
        flow_i2v: `(B, F, 2, H, W)`, pixels, from each frame into the key frame.
        flow_v2i: `(B, F, 2, H, W)`, pixels, from the key frame into each frame.
    """

    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor


class MotionSpace(ConfigMixin):
    """Maps labels to the diffusion's target and samples back to pixels (MoVideo Eq. 6 to 10).

    Normalised flow is small almost everywhere. Dividing by the standard deviations measured on the
    training labels keeps a noise schedule made for unit variance from drowning it.

    Args:
        grid: `(h, w)` of the motion grid.
        depth_std: standard deviation of normalised depth over the training labels.
        flow_std: standard deviation of normalised flow over the training labels.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, grid: tuple[int, int] = (32, 32), depth_std: float = 1.0, flow_std: float = 1.0
    ) -> None:
        self.grid = (int(grid[0]), int(grid[1]))
        self.depth_std = depth_std
        self.flow_std = flow_std

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `config.json`."""
        self.save_config(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MotionSpace:
        """Reads what `save_pretrained` wrote."""
        space: MotionSpace = cls.from_config(cls.load_config(folder))
        return space

    def encode(self, depth: Tensor, flow_i2v: Tensor, flow_v2i: Tensor) -> Tensor:
        """Labels to the target of stage 1.

        The order matters: resized first, then normalised jointly over the clip (Eq. 7 to 9).

        Args:
            depth: `(B, F, 1, H, W)`, any scale.
            flow_i2v: `(B, F, 2, H, W)`, pixels.
            flow_v2i: `(B, F, 2, H, W)`, pixels.

        Returns:
            `(B, F, 5, h, w)` on the motion grid, standard deviation near 1.
        """
        depth = normalize_depth(resize(depth, self.grid))
        into, out_of, _ = normalize_flow(
            resize_flow(flow_i2v, self.grid), resize_flow(flow_v2i, self.grid)
        )
        return torch.cat(
            [depth / self.depth_std, into / self.flow_std, out_of / self.flow_std], dim=2
        )

    def split(self, sample: Tensor, key_index: Tensor) -> Motion:
        """A sample `(B, F, 5, h, w)` as normalised motion on its grid.

        The flows are zero at the key frame `(B,)`.
        """
        depth = (sample[:, :, :1] * self.depth_std).clamp(-1, 1)
        moves = torch.arange(sample.shape[1], device=sample.device)[None] != key_index[:, None].to(
            sample.device
        )
        flows = sample[:, :, 1:] * self.flow_std * moves[:, :, None, None, None]
        return Motion(depth=depth, flow_i2v=flows[:, :, :2], flow_v2i=flows[:, :, 2:])

    def decode(self, sample: Tensor, key_index: Tensor, size: tuple[int, int]) -> Motion:
        """A sample of stage 1 as motion in pixels, the flow's scale recovered from depth (Eq. 10).

        Args:
            sample: `(B, F, 5, h, w)`.
            key_index: `(B,)`.
            size: `(H, W)` of the video.
        """
        motion = self.split(sample.float(), key_index)
        scale = estimate_flow_scale(motion.depth, motion.flow_i2v, motion.flow_v2i, key_index)
        scale = scale[:, None, None, None, None]
        return Motion(
            depth=resize(motion.depth, size),
            flow_i2v=resize_flow(motion.flow_i2v * scale, size),
            flow_v2i=resize_flow(motion.flow_v2i * scale, size),
        )
