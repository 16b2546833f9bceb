"""Pictures and videos as people have them, PIL, NumPy or torch, and as the networks take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from movideo.errors import UserError
from movideo.video.decoding.pixels import fit, to_bytes, to_float


def as_images(pictures: Any, height: int | None = None, width: int | None = None) -> Tensor:
    """Pictures as people have them, for the networks.

    Args:
        pictures: as for a call of `MoVideoPipeline`.
        height: to bring them to, their own by default.
        width: likewise.

    Returns:
        `(B, 3, H, W)` RGB in [-1, 1], float32.

    Raises:
        UserError: something is no picture, or two have different sizes.
    """
    listed = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    images: list[Tensor] = []
    for picture in listed:
        found = _as_tensor(picture)
        for image in found if found.ndim == 4 else found[None]:
            size = (height or image.shape[-2], width or image.shape[-1])
            images.append(fit(image, size).clamp(-1, 1))
    if not images:
        raise UserError("image []: give one picture or more")
    sizes = {tuple(image.shape[-2:]) for image in images}
    if len(sizes) > 1:
        raise UserError(f"image: of different sizes {sorted(sizes)}; give height and width")
    return torch.stack(images)


def _as_tensor(picture: Any) -> Tensor:
    """`(3, H, W)` or `(B, 3, H, W)` in [-1, 1]."""
    if isinstance(picture, Image.Image):
        picture = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    if isinstance(picture, np.ndarray):
        if picture.ndim not in (3, 4) or picture.shape[-1] != 3:
            raise UserError(f"image {picture.shape}: give arrays (H, W, 3) or (B, H, W, 3)")
        picture = torch.from_numpy(picture.copy()).movedim(-1, -3)
    if not isinstance(picture, Tensor):
        raise UserError(
            f"image: a {type(picture).__name__}; give PIL pictures, NumPy arrays or tensors"
        )
    if picture.ndim not in (3, 4) or picture.shape[-3] != 3:
        raise UserError(f"image {tuple(picture.shape)}: give (3, H, W) or (B, 3, H, W)")
    if picture.dtype == torch.uint8:
        return to_float(picture)
    image = picture.float()
    low, high = float(image.min()), float(image.max())
    if not (low >= -1 and high <= 1):
        raise UserError(f"image: values {low:g} to {high:g}; give bytes, [0, 1] or [-1, 1]")
    return image if low < 0 else image * 2 - 1


def as_frames(video: Tensor, output_type: str) -> Any:
    """Videos `(B, F, 3, H, W)` in [-1, 1] as `MoVideoOutput.frames` has them."""
    if output_type == "latent":
        return video
    if output_type == "pil":
        return [[Image.fromarray(frame) for frame in clip] for clip in to_bytes(video)]
    frames = video / 2 + 0.5
    return frames if output_type == "pt" else frames.movedim(-3, -1).cpu().numpy()
