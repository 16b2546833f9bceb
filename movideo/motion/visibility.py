"""Where the key frame shows what a frame sees: one rule for exact motion, another for generated.

The flows of a label are each other's inverse, those of stage 1 are two samples of one network: they
miss each other by a share of their length, and most where things move.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from typing_extensions import override

from movideo.hub.config_part import ConfigPart
from movideo.ops import splat, visible_mask
from movideo.ops.length import vector_length
from movideo.ops.warp import warp


class Visibility(ConfigPart):
    """A rule; it is saved with the weights that were trained under it."""

    def __call__(self, flow_i2v: Tensor, flow_v2i: Tensor, depth: Tensor) -> Tensor:
        """The mask `(B, F, 1, H, W)`: 1.0 visible, 0.0 occluded.

        Args:
            flow_i2v: `(B, F, 2, H, W)`, pixels of full resolution.
            flow_v2i: likewise.
            depth: `(B, F, 1, H, W)`, near is large.
        """
        raise NotImplementedError


class Consistency(Visibility):
    """Where one flow and then the other lead back, as printed (MoVideo Eq. 11): for exact motion.

    Args:
        alpha: share of the motion that may be missed.
        beta: pixels that may be missed.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, alpha: float = 0.01, beta: float = 0.5) -> None:
        self.alpha = alpha
        self.beta = beta

    @override
    def __call__(self, flow_i2v: Tensor, flow_v2i: Tensor, depth: Tensor) -> Tensor:
        return visible_mask(flow_i2v, flow_v2i, self.alpha, self.beta)


class TolerantConsistency(Consistency):
    """The same with a tolerance that grows with how far the clip's two flows miss each other.

    Args:
        alpha: share of the motion that may be missed.
        beta: pixels that may be missed, and to them
        gaps: times the clip's median gap between a point and where both flows lead back to.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, alpha: float = 0.15, beta: float = 0.5, gaps: float = 3.0) -> None:
        super().__init__(alpha, beta)
        self.gaps = gaps

    @override
    def __call__(self, flow_i2v: Tensor, flow_v2i: Tensor, depth: Tensor) -> Tensor:
        gap = vector_length(flow_i2v + warp(flow_v2i, flow_i2v))
        median = gap.flatten(1).median(dim=1).values
        beta = self.beta + self.gaps * median
        return visible_mask(flow_i2v, flow_v2i, self.alpha, beta[:, None, None, None, None])


class Coverage(Visibility):
    """Where a point of the key frame lands, carried along `flow_v2i` alone: for edited motion.

    `flow_i2v` says nothing here. The key frame is the one that moves least.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self) -> None:
        pass

    @override
    def __call__(self, flow_i2v: Tensor, flow_v2i: Tensor, depth: Tensor) -> Tensor:
        moves = flow_v2i.abs().sum(dim=(2, 3, 4))
        near = depth[torch.arange(len(depth), device=depth.device), moves.argmin(dim=1)]
        _, covered = splat(near[:, None], flow_v2i, near[:, None])
        return covered.to(flow_i2v.dtype)
