"""Pictures of flow and depth for people to look at."""

import math
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from movideo.ops.length import vector_length

# The wheel of Baker et al.: colours around the circle, and the length of the way to each next one.
_WHEEL = (
    ((255, 0, 0), 15),  # red
    ((255, 255, 0), 6),  # yellow
    ((0, 255, 0), 4),  # green
    ((0, 255, 255), 11),  # cyan
    ((0, 0, 255), 13),  # blue
    ((255, 0, 255), 6),  # magenta, and back to red
)


def flow_to_color(flow: Tensor, max_norm: float | Tensor | None = None) -> Tensor:
    """Colours flow by the wheel of Baker et al. (Middlebury, ICCV 2007), closed to a circle.

    Hue is direction, saturation is length. Right is red, down yellow, left blue, up violet; no
    motion is white. Programs that follow the published code to the letter leave a gap between the
    wheel's last colour and its first: just below and just above right they show two reds.

    Args:
        flow: `(…, 2, H, W)`.
        max_norm: the length that gets full saturation, in the flow's units; longer vectors are
            shown as this long. A tensor broadcasts against the leading dimensions. By default the
            longest vector of all.

    Returns:
        `(…, 3, H, W)`, RGB in [-1, 1].
    """
    flow = flow.detach().float()
    length = vector_length(flow)
    full = (
        length.max()
        if max_norm is None
        else torch.as_tensor(max_norm, dtype=flow.dtype, device=flow.device)
    )
    full = full.reshape(*full.shape, 1, 1)
    saturation = length / torch.maximum(length, full).clamp_min(torch.finfo(flow.dtype).tiny)
    wheel = _wheel().to(flow.device)
    turn = torch.atan2(flow[..., 1, :, :], flow[..., 0, :, :]) / (2 * math.pi) % 1
    place = turn * len(wheel)
    before = place.long() % len(wheel)
    hue = wheel[before].lerp(wheel[(before + 1) % len(wheel)], place.frac()[..., None])
    color: Tensor = 1 - 2 * saturation[..., None] * (1 - hue)
    return color.movedim(-1, -3)


@cache
def _wheel() -> Tensor:
    """55 colours from right (red) clockwise, `(55, 3)`, RGB in [0, 1]."""
    colors, lengths = zip(*_WHEEL, strict=True)
    places = np.cumsum([0, *lengths])
    channels = np.array([*colors, colors[0]]).T
    steps = np.arange(places[-1])
    return (
        torch.from_numpy(np.stack([np.interp(steps, places, c) / 255 for c in channels])).float().T
    )


def depth_to_color(depth: Tensor) -> Tensor:
    """Colours normalised depth by the turbo map: far is dark blue, near is dark red.

    Args:
        depth: `(…, 1, H, W)` in [-1, 1]; values outside are clamped.

    Returns:
        `(…, 3, H, W)`, RGB in [-1, 1].
    """
    level = ((depth.detach().float() + 1) * 127.5).round().clamp(0, 255).long().squeeze(-3)
    return _to_signed(_turbo().to(depth.device)[level]).movedim(-1, -3)


@cache
def _turbo() -> Tensor:
    """The 256 colours of the turbo map, `(256, 3)`, RGB, uint8."""
    levels = np.arange(256, dtype=np.uint8)[:, None]
    return torch.from_numpy(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, 0, ::-1].copy())


def _to_signed(picture: Tensor) -> Tensor:
    return picture.float() / 127.5 - 1
