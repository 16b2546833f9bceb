"""Normalisation over a clip, which keeps frames comparable with one another."""

import torch
from torch import Tensor

from movideo.ops.length import vector_length


def normalize_depth(depth: Tensor) -> Tensor:
    """Depth to [-1, 1] by its minimum and maximum over the whole clip (MoVideo Eq. 7).

    Args:
        depth: `(…, F, 1, H, W)`, relative inverse depth of any range.

    Returns:
        The same shape: -1 the farthest point of the clip, 1 the nearest, and 0 everywhere in a flat
        clip.
    """
    low = depth.amin(dim=(-4, -3, -2, -1), keepdim=True)
    high = depth.amax(dim=(-4, -3, -2, -1), keepdim=True)
    span = high - low
    # Both differences, rather than 2 (d - low) / span - 1, give exactly -1 and 1 at the ends and 0
    # where all is flat.
    return ((depth - low) - (high - depth)) / span.where(span > 0, 1)


def normalize_flow(flow_i2v: Tensor, flow_v2i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both flows divided by the longest vector of either over the whole clip (MoVideo Eq. 8, 9).

    Args:
        flow_i2v: `(…, F, 2, H, W)`, pixels.
        flow_v2i: the same shape, pixels.

    Returns:
        flow_i2v and flow_v2i with vectors no longer than 1, and the scale `(…)` in pixels of the
        grid they are on. A clip without motion stays as it is, with scale 0.
    """
    lengths = torch.stack([vector_length(flow) for flow in (flow_i2v, flow_v2i)])
    scale = lengths.amax(dim=(0, -3, -2, -1))
    divisor = scale.where(scale > 0, 1)[..., None, None, None, None]
    return flow_i2v / divisor, flow_v2i / divisor, scale
