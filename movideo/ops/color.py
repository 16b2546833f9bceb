"""Pictures of flow and depth for people to look at."""

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.utils import flow_to_image


def flow_to_color(flow: Tensor, max_norm: float | Tensor | None = None) -> Tensor:
    """Colours flow by the wheel of Baker et al. (Middlebury, ICCV 2007).

    Hue is direction, saturation is length. Right is red, down yellow, left blue, up violet; no
    motion is white.

    Args:
        flow: `(…, 2, H, W)`.
        max_norm: the length that gets full saturation, in the flow's units; longer vectors are
            shown as this long. A tensor broadcasts against the leading dimensions. By default the
            longest vector of all.

    Returns:
        `(…, 3, H, W)`, RGB in [-1, 1].
    """
    flow = flow.detach().float()
    length = torch.linalg.vector_norm(flow, dim=-3, keepdim=True)
    full = (
        length.max()
        if max_norm is None
        else torch.as_tensor(max_norm, dtype=flow.dtype, device=flow.device)
    )
    full = full.reshape(*full.shape, 1, 1, 1)
    shown = flow / torch.maximum(length, full).clamp_min(torch.finfo(flow.dtype).tiny)
    # torchvision divides by the longest vector it sees: one more column, of unit length, fixes the
    # scale.
    unit = torch.zeros_like(shown[..., :1])
    unit[..., 0, :, :] = 1
    pictures = flow_to_image(
        torch.cat([shown, unit], dim=-1).reshape(-1, 2, flow.shape[-2], flow.shape[-1] + 1)
    )
    return _to_signed(pictures[..., :-1]).reshape(*flow.shape[:-3], 3, *flow.shape[-2:])


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
