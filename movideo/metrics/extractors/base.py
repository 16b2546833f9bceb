"""What a frozen network that looks at videos has to offer, and how it is shown them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from movideo.errors import UserError
from movideo.hub.weight_files import cache_folder
from movideo.metrics.base import Description
from movideo.storage.digest import hex_digest


class Extractor(nn.Module, ABC):
    """Features of videos, by a network that stays as it is."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    @abstractmethod
    def forward(self, video: Tensor) -> Tensor:
        """Looks at videos.

        Args:
            video: `(B, F, 3, H, W)` RGB in [-1, 1].

        Returns:
            `(B, D)`, or `(B, n, D)` where each video gives several samples.
        """

    @abstractmethod
    def protocol(self) -> Description:
        """Which network it is, by hash, and what it is shown."""

    def unavailable(self) -> str | None:
        """What is missing and how to get it; None if nothing is."""
        return None


def cached(file_name: str) -> str | None:
    """The file of that name in there, if it is."""
    place = cache_folder() / file_name
    return str(place) if place.is_file() else None


def read_trusted(path: str, sha256: str) -> BytesIO:
    """Reads a file once it has proved to be the one meant.

    Raises:
        UserError: it cannot be read, or its SHA-256 differs.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name another file") from error
    found = hex_digest(content)
    if found != sha256.lower():
        raise UserError(
            f"{path}: has sha256 {found}, not {sha256}; it is damaged or another file: get it again"
        )
    return BytesIO(content)


def middle_frames(video: Tensor, count: int | None, least: int = 1) -> Tensor:
    """`count` consecutive frames from the middle of videos `(B, F, ...)`; None for all.

    Raises:
        UserError: there are fewer, or fewer than `least`.
    """
    frames = video.shape[1]
    wanted = frames if count is None else count
    if wanted > frames:
        raise UserError(
            f"frames: {wanted}, but clips have {frames}; give fewer, or leave the metric out"
        )
    if wanted < least:
        raise UserError(
            f"frames: {wanted}; this network needs {least} or more: give longer clips, or leave "
            "the metric out"
        )
    start = (frames - wanted) // 2
    return video[:, start : start + wanted]


def spread_frames(video: Tensor, count: int) -> Tensor:
    """`count` frames of videos `(B, F, ...)`, each amid an equal share of it; all if fewer."""
    frames = video.shape[1]
    count = min(count, frames)
    index = (torch.arange(count, device=video.device) + 0.5) * frames / count
    return video[:, index.long()]


def fill(images: Tensor, size: tuple[int, int], mode: str, antialias: bool) -> Tensor:
    """Resizes images so that they cover `size`, and cuts its centre out.

    Args:
        images: `(N, 3, H, W)` in [-1, 1].
        size: `(H, W)`.
        mode: of `torch.nn.functional.interpolate`.
        antialias: likewise.
    """
    height, width = images.shape[-2:]
    scale = max(size[0] / height, size[1] / width)
    covering = max(size[0], round(height * scale)), max(size[1], round(width * scale))
    if covering != (height, width):
        images = interpolate(
            images, covering, mode=mode, antialias=antialias, align_corners=False
        ).clamp(-1, 1)  # bicubic overshoots
    top, left = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]
