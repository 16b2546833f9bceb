"""The flow scale that normalisation divided out, found again from depth."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from movideo.ops.warp import warp

SMALLEST = 0.1  # grid pixels; below it the cost does not change
CANDIDATES = 32  # steps of 23% on a 64 grid; twice or five times as many find nothing better
REFINEMENTS = 14  # each shrinks the bracket by 0.618: two steps become 0.06%
GOLDEN = (math.sqrt(5) - 1) / 2


@torch.no_grad()
def estimate_flow_scale(
    depth: Tensor,
    flow_i2v: Tensor,
    flow_v2i: Tensor,
    key_index: int | Tensor,
    bounds: tuple[Tensor, Tensor] | None = None,
    is_expected: bool = False,
) -> Tensor:
    """The scale for which warping depth along the flows best reproduces depth (MoVideo Eq. 10).

    The cost is not convex and flat near zero: a search over a logarithmic range, up to the diagonal
    of the grid, is followed by a golden-section search around the best candidate. Without
    gradients.

    Args:
        depth: `(B, F, 1, H, W)`, normalised over the clip.
        flow_i2v: `(B, F, 2, H, W)`, normalised over the clip.
        flow_v2i: `(B, F, 2, H, W)`, normalised over the clip.
        key_index: the key frame, one for all clips or `(B,)`.
        bounds: logarithms of the smallest and the largest scale of each clip, `(B,)` each, where
            they are known; the cost then decides between them alone.
        is_expected: the middle of the bounds is where the scale is expected, and they are two
            standard deviations away: depth then has the say of one frame against that. Frames err
            together, so that the sum over all of them would trust wrong depth too far.

    Returns:
        `(B,)`, pixels of this grid. Under a true scale of about 2 pixels the cost says next to
        nothing; for a flat depth or without motion it says nothing at all, and the smallest
        candidate is returned.
    """
    depth, flow_i2v, flow_v2i = depth.float(), flow_i2v.float(), flow_v2i.float()
    clips = torch.arange(len(depth), device=depth.device)
    key_depth = depth[clips, key_index][:, None]

    def cost(log_scale: Tensor) -> Tensor:
        scale = log_scale.exp()
        into_video = _warp_error(key_depth, depth, flow_i2v, scale)
        total = into_video + _warp_error(depth, key_depth, flow_v2i, scale)
        if bounds is None or not is_expected:
            return total
        low, high = (end[:, None] for end in bounds)
        deviations = (log_scale - (low + high) / 2) / ((high - low) / 4).clamp(min=1e-6)
        return total / depth.shape[1] + deviations.square() / 2

    candidates = _candidates(depth, bounds)
    best = cost(candidates).argmin(dim=1)
    low = candidates[clips, (best - 1).clamp(min=0)]
    high = candidates[clips, (best + 1).clamp(max=CANDIDATES - 1)]
    return _golden_section(cost, low, high).exp()


def _candidates(depth: Tensor, bounds: tuple[Tensor, Tensor] | None) -> Tensor:
    """Logarithms of scales, `(B, CANDIDATES)`."""
    if bounds is not None:
        low, high = (end.float()[:, None] for end in bounds)
        return low + (high - low) * torch.linspace(0, 1, CANDIDATES, device=depth.device)
    largest = math.hypot(*depth.shape[-2:])
    ends = math.log(SMALLEST), math.log(max(largest, 2 * SMALLEST))
    return torch.linspace(*ends, CANDIDATES, device=depth.device).expand(len(depth), -1)


def _warp_error(source: Tensor, target: Tensor, flow: Tensor, scale: Tensor) -> Tensor:
    """`sum_f |target_f - W(source_f, scale * flow_f)|_2` for every scale `(B, K)`.

    Source and target are `(B, F, 1, h, w)`, one of them a single frame.
    """
    scaled = flow[:, :, None] * scale[:, None, :, None, None, None]
    residual = target[:, :, None] - warp(source[:, :, None], scaled)
    per_frame: Tensor = torch.linalg.vector_norm(residual, dim=(-3, -2, -1))
    return per_frame.sum(dim=1)


def _golden_section(cost: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where between `low` and `high` the cost is smallest, in every clip by itself; all `(B,)`."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    cost_left, cost_right = cost(torch.stack([left, right], dim=1)).unbind(dim=1)
    for _ in range(REFINEMENTS):
        lower = cost_left <= cost_right
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
        new = torch.where(lower, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        cost_new = cost(new[:, None])[:, 0]
        left, right = torch.where(lower, new, right), torch.where(lower, left, new)
        cost_left, cost_right = (
            torch.where(lower, cost_new, cost_right),
            torch.where(lower, cost_left, cost_new),
        )
    return torch.where(cost_left <= cost_right, left, right)
