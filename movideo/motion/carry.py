"""From motion on the key frame's grid to motion on the grid of every frame."""

from __future__ import annotations

from torch import Tensor

from movideo.motion.space import Motion
from movideo.ops import invert_flow, normalize_depth


def carry_motion(flow_v2i: Tensor, depth: Tensor) -> Motion:
    """The whole motion that follows from where the points of the key frame go.

    Args:
        flow_v2i: `(B, F, 2, H, W)`, pixels, on the grid of the key frame.
        depth: `(B, 1 or F, 1, H, W)` on the same grid, any scale, near is large: of the key frame,
            or one for each frame, if points come nearer.

    Returns:
        Motion with that `flow_v2i`; depth and `flow_i2v` are splatted along it.
    """
    flow_i2v, moved = invert_flow(flow_v2i, depth)
    return Motion(depth=normalize_depth(moved), flow_i2v=flow_i2v, flow_v2i=flow_v2i)


def scale_motion(motion: Motion, key_index: int, strength: float) -> Motion:
    """Motion in which every point of the key frame moves `strength` times as far.

    Scaling `flow_i2v` in place would leave it where things were before: it is made anew.

    Args:
        motion: B videos with one key frame.
        key_index: its index.
        strength: 1 gives the motion itself.
    """
    if strength == 1:
        return motion
    return carry_motion(motion.flow_v2i * strength, motion.depth[:, key_index : key_index + 1])
