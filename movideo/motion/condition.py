"""What guides the latent video: depth, warped key latent, visible mask (MoVideo Eq. 11 to 13)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from typing_extensions import override

from movideo.hub.config_part import ConfigPart
from movideo.motion.space import Motion, MotionSpace
from movideo.motion.visibility import Visibility
from movideo.ops import pool_mask, resize, resize_flow, warp


@dataclass(frozen=True)
class MotionCondition:
    """The channels beside the noisy latent, all on the latent's grid `(h, w)`.

    Attributes:
        depth: `(B, F, 1, h, w)` in [-1, 1].
        warped_latent: `(B, F, c, h, w)`, the key frame's latent along the flow, wrong where
            occluded; only `channels` masks it.
        visible: `(B, F, 1, h, w)` in [0, 1], the share of a cell that the key frame shows.
        level: `(B, F, 1, h, w)`, how far off the motion is, for networks that are told.
    """

    depth: Tensor
    warped_latent: Tensor
    visible: Tensor
    level: Tensor | None = None

    def channels(self) -> Tensor:
        """All of it, concatenated, the latent masked (Eq. 12).

        `(B, F, 1 + c + 1, h, w)`, and one more where the network is told the motion's level.
        """
        shown = [self.depth, self.warped_latent * self.visible, self.visible]
        return torch.cat(shown if self.level is None else [*shown, self.level], dim=2)

    def without_warped_latent(self, dropped: Tensor) -> MotionCondition:
        """The same with the warped latent zeroed for the clips where `dropped (B,)` is true.

        The mask stays.
        """
        kept = (~dropped).to(self.warped_latent)[:, None, None, None, None]
        return replace(self, warped_latent=self.warped_latent * kept)


def motion_condition(
    motion: Motion,
    key_latent: Tensor,
    size: tuple[int, int],
    motion_space: MotionSpace,
    coarse: Tensor | None = None,
    coarse_visibility: Visibility | None = None,
    with_level: bool = False,
) -> MotionCondition:
    """Makes the condition from motion, whatever made the motion.

    Labels are sharp, generated motion comes from the motion grid. Both kinds must be known to the
    network, so training passes the flow of some clips down to that grid and back. Depth always
    comes from that grid, where it is normalised.

    Args:
        motion: depth `(B, F, 1, ·, ·)` of any scale, flows in pixels of the grids they are on.
        key_latent: `(B, c, h, w)`.
        size: `(H, W)` of the video: the mask's threshold is in its pixels.
        motion_space: of stage 1: its grid, and how it normalises depth.
        coarse: `(B,)`, true for the clips whose flow is passed through the motion grid.
        coarse_visibility: the rule for these clips; the motion's own by default.
        with_level: tell the network how far off the motion is.
    """
    latent_size = (key_latent.shape[-2], key_latent.shape[-1])
    depth = motion_space.normalize_depth(motion.depth)
    flow_i2v, flow_v2i = motion.flow_i2v, motion.flow_v2i
    if coarse is not None:
        grid = motion_space.grid_of(size)
        flow_i2v = coarse_flow(flow_i2v, grid, size, coarse)
        flow_v2i = coarse_flow(flow_v2i, grid, size, coarse)
    flow_i2v, flow_v2i = resize_flow(flow_i2v, size), resize_flow(flow_v2i, size)
    full = (flow_i2v, flow_v2i, resize(depth, size))
    visible = motion.visibility(*full)
    if coarse is not None and coarse_visibility is not None:
        chosen = coarse[:, None, None, None, None]
        visible = torch.where(chosen, coarse_visibility(*full), visible)
    visible = pool_mask(visible, latent_size)
    level = torch.zeros_like(visible) if with_level else None
    if level is not None and motion.level is not None:
        level = level + motion.level.to(level)[:, None, None, None, None]
    return MotionCondition(
        depth=resize(depth, latent_size),
        warped_latent=warp(key_latent[:, None], resize_flow(flow_i2v, latent_size)),
        visible=visible,
        level=level,
    )


class ConditionTransform(ConfigPart):
    """What stage 2 is shown of its condition: all of it. Ablations show it less.

    It is saved with the weights that were trained under it.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self) -> None:
        pass

    def __call__(self, condition: MotionCondition) -> MotionCondition:
        """The condition as the network is given it."""
        return condition


class NoWarpedLatent(ConditionTransform):
    """The warped latent is zero, as in training for the clips that drop it. The mask stays."""

    @override
    def __call__(self, condition: MotionCondition) -> MotionCondition:
        return replace(condition, warped_latent=torch.zeros_like(condition.warped_latent))


class NoMask(ConditionTransform):
    """All counts as visible: the network sees the warped latent as warping leaves it."""

    @override
    def __call__(self, condition: MotionCondition) -> MotionCondition:
        return replace(condition, visible=torch.ones_like(condition.visible))


class DepthOnly(ConditionTransform):
    """Neither warped latent nor mask: what Gen-1 is guided by."""

    @override
    def __call__(self, condition: MotionCondition) -> MotionCondition:
        return replace(
            condition,
            warped_latent=torch.zeros_like(condition.warped_latent),
            visible=torch.ones_like(condition.visible),
        )


def coarse_flow(
    flow: Tensor, grid: tuple[int, int], size: tuple[int, int], chosen: Tensor
) -> Tensor:
    """Flow as stage 1 would give it, for some of the clips.

    Args:
        flow: `(B, F, 2, ·, ·)`, pixels of the grid it is given on.
        grid: `(h, w)` of the motion grid.
        size: `(H, W)` of the video.
        chosen: `(B,)`, true for the clips whose flow is passed down to the motion grid and back.

    Returns:
        `(B, F, 2, H, W)`, pixels of the video.
    """
    sharp = resize_flow(flow, size)
    return torch.where(
        chosen[:, None, None, None, None], resize_flow(resize_flow(flow, grid), size), sharp
    )
