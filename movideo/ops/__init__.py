"""Pure functions on tensors, for any leading dimensions and any device.

Tensors, units and directions are those stated in `movideo`.
"""

from movideo.ops.color import depth_to_color, flow_to_color
from movideo.ops.deform_conv import deform_conv
from movideo.ops.flow_scale import estimate_flow_scale
from movideo.ops.mask import pool_mask, visible_mask
from movideo.ops.normalize import normalize_depth, normalize_flow
from movideo.ops.resize import resize, resize_flow
from movideo.ops.splat import invert_flow, splat
from movideo.ops.warp import warp

__all__ = [
    "deform_conv",
    "depth_to_color",
    "estimate_flow_scale",
    "flow_to_color",
    "invert_flow",
    "normalize_depth",
    "normalize_flow",
    "pool_mask",
    "resize",
    "resize_flow",
    "splat",
    "visible_mask",
    "warp",
]
