"""Single-image depth flickers in scale and shift: what brings each frame back to the key frame."""

from __future__ import annotations

import torch
from torch import Tensor

from movideo.ops import visible_mask, warp

MIN_VISIBLE = 0.05  # share of the image that must be seen in both frames
MAX_RATIO = 10.0  # more than this between two frames is no flicker: one of them is flat


def align_frames(depth: Tensor, flow_i2v: Tensor, flow_v2i: Tensor, key_index: int) -> Tensor:
    """Scale and shift that bring the depth of each frame to that of the key frame.

    Each frame's depth is carried to the key frame; over the points visible in both, the median and
    the mean absolute deviation from it are made equal. Least squares would shrink the depth of a
    frame the more, the noisier it is.

    Args:
        depth: `(F, 1, H, W)`, any scale and shift per frame.
        flow_i2v: `(F, 2, H, W)`, pixels, into the key frame.
        flow_v2i: `(F, 2, H, W)`, pixels, from the key frame.
        key_index: index of the key frame.

    Returns:
        `(F, 2)`, a positive scale and a shift: `scale * depth + shift` is aligned. `(1, 0)` at the
        key frame, where too little is visible in both frames, and where one of the two depths is
        flat.
    """
    carried = warp(depth, flow_v2i)
    visible = visible_mask(flow_v2i, flow_i2v) > 0.5
    rows = [
        (1.0, 0.0)
        if frame == key_index
        else _match(carried[frame], depth[key_index], visible[frame])
        for frame in range(len(depth))
    ]
    return torch.tensor(rows, device=depth.device)


def _match(moving: Tensor, fixed: Tensor, visible: Tensor) -> tuple[float, float]:
    if visible.float().mean() < MIN_VISIBLE:
        return 1.0, 0.0
    moving_centre, moving_spread = _moments(moving[visible])
    fixed_centre, fixed_spread = _moments(fixed[visible])
    # Written as products, so that a flat depth, or two, cannot divide by zero.
    if not (moving_spread < MAX_RATIO * fixed_spread and fixed_spread < MAX_RATIO * moving_spread):
        return 1.0, 0.0
    scale = fixed_spread / moving_spread
    return scale, fixed_centre - scale * moving_centre


def _moments(values: Tensor) -> tuple[float, float]:
    centre = values.median()
    return float(centre), float((values - centre).abs().mean())
