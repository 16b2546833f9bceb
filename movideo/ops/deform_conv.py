"""Modulated deformable convolution of one picture into every frame of a clip."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from movideo.ops.warp import warp

Convolution = Callable[[Tensor, Tensor], Tensor]
"""Of one frame's offsets `(B, K, 2, H, W)` and mask `(B, K, H, W)`."""


def deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Convolves with taps that each frame puts where it wants (the DC of MoVideo Eq. 16).

    Tap t at the place p of frame f reads `mask_t(p) * x(p + r_t + offset_t(p))`, `r_t` being where
    the tap stands in the kernel. Bilinear between pixels, zero outside. Runs in float32, whatever
    autocast says.

    Args:
        x: the picture of each clip, `(B, C, H, W)`.
        offset: `(B, F, K, 2, H, W)`, pixels, channel 0 = dx (right), 1 = dy (down), as flow; taps
            row by row.
        mask: `(B, F, K, H, W)`.
        weight: `(C_out, C, k, k)`, k odd and `k * k = K`.

    Returns:
        `(B, F, C_out, H, W)` in the dtype of `x`.

    Raises:
        ValueError: the numbers of taps differ.
    """
    kernel = weight.shape[-1]
    if offset.shape[2:4] != (kernel**2, 2) or mask.shape[2] != kernel**2:
        raise ValueError(
            f"offset {tuple(offset.shape)} and mask {tuple(mask.shape)}: a kernel of {kernel} has "
            f"{kernel**2} taps"
        )
    # torchvision's CPU kernel is one plain loop: about seven times slower with gradients.
    tap_convolution = _torchvision if x.is_cuda else _warped_taps
    with torch.autocast(x.device.type, enabled=False):
        convolve = tap_convolution(x.float(), weight.float())
        # Frame by frame: what all taps of a frame read is several times the frame.
        frames = [convolve(*frame) for frame in zip(offset.unbind(1), mask.unbind(1), strict=True)]
    return torch.stack(frames, dim=1).to(x.dtype)


def _torchvision(x: Tensor, weight: Tensor) -> Convolution:
    def convolve(offset: Tensor, mask: Tensor) -> Tensor:
        pairs = offset.float().flip(2).flatten(1, 2)  # it wants (dy, dx), tap after tap
        convolved: Tensor = deform_conv2d(
            x, pairs, weight, padding=weight.shape[-1] // 2, mask=mask.float().contiguous()
        )
        return convolved

    return convolve


def _warped_taps(x: Tensor, weight: Tensor) -> Convolution:
    # Sampling is linear: every tap's 1x1 convolution can be made first, once for the picture.
    taps = torch.einsum("bchw,ock->bkohw", x, weight.flatten(2))
    places = _tap_places(weight.shape[-1], x.device)

    def convolve(offset: Tensor, mask: Tensor) -> Tensor:
        sampled = warp(taps, offset.float() + places, padding="zeros")
        return (sampled * mask.float()[:, :, None]).sum(dim=1)

    return convolve


def _tap_places(kernel: int, device: torch.device) -> Tensor:
    """`r_t`, `(K, 2, 1, 1)` as (dx, dy), row by row."""
    steps = torch.arange(kernel, device=device) - kernel // 2
    dy, dx = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([dx.flatten(), dy.flatten()], dim=1)[:, :, None, None]
