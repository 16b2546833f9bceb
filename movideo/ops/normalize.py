"""Normalisation over a clip, which keeps frames comparable with one another."""

import torch
from torch import Tensor

from movideo.ops.length import vector_length


def normalize_depth(depth: Tensor, quantile: float = 0.0) -> Tensor:
    """Depth to [-1, 1] by its minimum and maximum over the whole clip (MoVideo Eq. 7).

    Args:
        depth: `(…, F, 1, H, W)`, relative inverse depth of any range.
        quantile: share of the points at either end that are cut off instead; 0 is the paper's.

    Returns:
        The same shape: -1 the farthest point of the clip, 1 the nearest, and 0 everywhere in a flat
        clip.
    """
    if quantile:
        points = depth.flatten(-4).float()
        ends = (torch.quantile(points, q, dim=-1).to(depth) for q in (quantile, 1 - quantile))
        low, high = (end[..., None, None, None, None] for end in ends)
        depth = torch.minimum(torch.maximum(depth, low), high)
    else:
        low = depth.amin(dim=(-4, -3, -2, -1), keepdim=True)
        high = depth.amax(dim=(-4, -3, -2, -1), keepdim=True)
    span = high - low
    # Both differences, rather than 2 (d - low) / span - 1, give exactly -1 and 1 at the ends and 0
    # where all is flat.
    return ((depth - low) - (high - depth)) / span.where(span > 0, 1)


def normalize_flow(
    flow_i2v: Tensor, flow_v2i: Tensor, quantile: float = 0.0, floor: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Both flows divided by the longest vector of either over the whole clip (MoVideo Eq. 8, 9).

    Args:
        flow_i2v: `(…, F, 2, H, W)`, pixels.
        flow_v2i: the same shape, pixels.
        quantile: share of the vectors that may be longer than what is divided by; they are
            shortened to it. 0 is the paper's.
        floor: pixels by which is divided at least, so that a clip in which nothing moves comes out
            near zero and not as the noise of its estimator; 0 is the paper's.

    Returns:
        flow_i2v and flow_v2i with vectors no longer than 1, and the scale `(…)` in pixels of the
        grid they are on. A clip without motion stays as it is; its scale is the floor.
    """
    lengths = torch.stack([vector_length(flow) for flow in (flow_i2v, flow_v2i)])
    if quantile:
        every = lengths.movedim(0, -4).flatten(-4)
        scale = torch.quantile(every.float(), 1 - quantile, dim=-1).to(every)
    else:
        scale = lengths.amax(dim=(0, -3, -2, -1))
    scale = scale.clamp(min=floor)
    divisor = scale.where(scale > 0, 1)[..., None, None, None, None]
    if not quantile:
        return flow_i2v / divisor, flow_v2i / divisor, scale
    longest = (lengths.unsqueeze(-3) / divisor).clamp(min=1)
    return flow_i2v / divisor / longest[0], flow_v2i / divisor / longest[1], scale
