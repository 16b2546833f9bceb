"""Visibility masks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from movideo.ops.length import vector_length
from movideo.ops.warp import warp


def visible_mask(
    flow_i2v: Tensor, flow_v2i: Tensor, alpha: float = 0.01, beta: float | Tensor = 0.5
) -> Tensor:
    """Forward-backward consistency of the two flows (MoVideo Eq. 11).

    A point is visible where following one flow and then the other leads back: `|o_i2v + W(o_v2i)|`
    is under `alpha (|o_i2v| + |W(o_v2i)|) + beta`. Unlike the paper's formula, which follows UnFlow
    in everything else, the threshold's `o_v2i` is warped too, as in UnFlow. Points that leave the
    image are occluded.

    Args:
        flow_i2v: `(…, 2, H, W)`, pixels, on the grid of each frame, pointing into the key frame.
        flow_v2i: `(…, 2, H, W)`, pixels, on the grid of the key frame, pointing into each frame.
        alpha: share of the motion that may be missed.
        beta: pixels that may be missed, one number or `(…, 1, 1, 1)`; meant for flows at full
            resolution.

    Returns:
        `(…, 1, H, W)` on the grid of `flow_i2v`: 1.0 visible (trust the warped value), 0.0
        occluded.
    """
    back = warp(flow_v2i, flow_i2v)
    gap, there, again = (vector_length(v).unsqueeze(-3) for v in (flow_i2v + back, flow_i2v, back))
    consistent: Tensor = gap < alpha * (there + again) + beta
    return (consistent & _lands_inside(flow_i2v)).to(flow_i2v.dtype)


def pool_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages a full-resolution mask `(…, 1, H, W)` down to `(h, w)`: visible shares, 0 to 1."""
    pooled = F.adaptive_avg_pool2d(mask.reshape(-1, *mask.shape[-3:]), size)
    return pooled.reshape(*mask.shape[:-2], *size)


def _lands_inside(flow: Tensor) -> Tensor:
    """True, `(…, 1, H, W)`, where `p + flow(p)` is on the image, outer half pixels included."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[..., :1, :, :]
    y = torch.arange(height, device=flow.device)[:, None] + flow[..., 1:, :, :]
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
