"""Backward warping."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Padding = Literal["border", "zeros"]


def warp(x: Tensor, flow: Tensor, padding: Padding = "border") -> Tensor:
    """Backward warp: the value at p is `x(p + flow(p))` (the W of MoVideo Eq. 10, 11, 12, 14).

    Bilinear. Whole-pixel flows, zero among them, copy pixels exactly. The sampling runs in float32
    or better, whatever autocast says.

    Args:
        x: `(…, C, H, W)`. Its leading dimensions broadcast against the flow's: a key frame `(B, 1,
            C, H, W)` is warped into every frame of `(B, F, 2, H, W)` without being copied.
        flow: `(…, 2, H, W)`, pixels, channel 0 = dx (right), channel 1 = dy (down).
        padding: what points outside take: the nearest border pixel, or zero.

    Returns:
        `(…, C, H, W)` with the broadcast leading dimensions, in the dtype of `x`.

    Raises:
        ValueError: the flow does not have two channels, or its height and width are not those of
            `x`.
    """
    if flow.shape[-3] != 2 or flow.shape[-2:] != x.shape[-2:]:
        raise ValueError(
            f"x {tuple(x.shape)} cannot be warped by a flow {tuple(flow.shape)}: need (…, 2, H, W)"
        )
    lead = torch.broadcast_shapes(x.shape[:-3], flow.shape[:-3])
    dtype = torch.promote_types(torch.promote_types(x.dtype, flow.dtype), torch.float32)
    source = _pad_to_powers_of_two(x.to(dtype), padding)
    grid = _sampling_grid(flow.to(dtype), source.shape[-2:]).expand(*lead, -1, -1, -1)
    return _sample(source, grid, lead, padding).to(x.dtype)


def _pad_to_powers_of_two(x: Tensor, padding: Padding) -> Tensor:
    """Adds rows and columns at the end until both sides are powers of two.

    `grid_sample` wants positions as fractions of the sides. Only fractions of a power of two are
    exact, and only then is a zero flow the identity; the extra pixels are what points outside take,
    so they change nothing else.
    """
    height, width = x.shape[-2:]
    more = [(1 << (side - 1).bit_length()) - side for side in (height, width)]
    if not any(more):
        return x
    mode = "replicate" if padding == "border" else "constant"
    padded = F.pad(x.reshape(-1, 1, height, width), (0, more[1], 0, more[0]), mode=mode)
    return padded.reshape(*x.shape[:-2], *padded.shape[-2:])


def _sampling_grid(flow: Tensor, size: torch.Size) -> Tensor:
    """`p + flow(p)`, `(…, H, W, 2)`, as `grid_sample(align_corners=False)` counts in `size`."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[..., 0, :, :]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[..., 1, :, :]
    return torch.stack([(2 * x + 1) / size[1] - 1, (2 * y + 1) / size[0] - 1], dim=-1)


def _sample(source: Tensor, grid: Tensor, lead: torch.Size, padding: Padding) -> Tensor:
    """`grid_sample` over broadcast leading dimensions.

    The trailing ones that `source` shares are stacked along the grid's height, so that `source` is
    read in place.
    """
    height, width = grid.shape[-3:-1]
    channels, *sides = source.shape[-3:]
    own_lead = (1,) * (len(lead) + 3 - source.dim()) + tuple(source.shape[:-3])
    own = len(lead)
    while own and own_lead[own - 1] == 1:
        own -= 1
    source = source.reshape(*own_lead[:own], channels, *sides).expand(*lead[:own], -1, -1, -1)
    sampled = F.grid_sample(
        source.reshape(-1, channels, *sides),
        grid.reshape(lead[:own].numel(), -1, width, 2),
        padding_mode=padding,
        align_corners=False,
    )
    stacked = sampled.reshape(*lead[:own], channels, -1, height, width)
    return stacked.transpose(-4, -3).reshape(*lead, channels, height, width)
