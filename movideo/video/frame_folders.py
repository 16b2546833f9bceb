"""Videos kept as folders of numbered pictures, as some data sets distribute them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from movideo.errors import VideoError
from movideo.video.read import PICTURES, TOLERANCE, VideoInfo, read_image_pixels


def list_frames(folder: str | Path) -> list[Path]:
    """The pictures of a folder, in the order of their numbers: 0, 1, 2, … without a gap.

    Raises:
        VideoError: there is no picture, one is not called by a number, or a number is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder; check the path")
    pictures = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    numbered = {int(path.stem): path for path in pictures if path.stem.isdecimal()}
    if not numbered or len(numbered) < len(pictures):
        raise VideoError(f"{folder}: no frames; put pictures called 00000.jpg, 00001.jpg, … there")
    for number in range(len(numbered)):
        if number not in numbered:
            raise VideoError(f"{folder}: frame {number} is missing; unpack it again")
    return [numbered[number] for number in range(len(numbered))]


def probe_frames(folder: str | Path, fps: float) -> VideoInfo:
    """What `movideo.video.read.probe` says of a video file; only the first picture is opened.

    Args:
        folder: holds the pictures.
        fps: frames per second that they were taken at; the folder itself does not say.

    Raises:
        VideoError: the frames cannot be listed, or the first is no picture.
    """
    frames = list_frames(folder)
    height, width = read_image_pixels(frames[0]).shape[-2:]
    times = tuple(index / fps for index in range(len(frames)))
    return VideoInfo(Path(folder), times, width, height, 0, frames[0].suffix.lstrip("."))


def read_frame_pixels(
    folder: str | Path, fps: float, times: Sequence[float], size: tuple[int, int] | None = None
) -> Tensor:
    """What `movideo.video.read.read_pixels` gives of a video file: the frame on display each time.

    Args:
        folder: holds the pictures.
        fps: frames per second that they were taken at.
        times: seconds since the first frame.
        size: (height, width): shorter side resized, centre cropped; None takes the pictures'.

    Returns:
        `(F, 3, H, W)` RGB bytes.

    Raises:
        VideoError: a frame cannot be read, or a time lies outside.
    """
    frames = list_frames(folder)
    indices = np.floor((np.asarray(times) + TOLERANCE) * fps).astype(int)
    if indices.min() < 0 or indices.max() >= len(frames):
        raise VideoError(
            f"{folder}: {len(frames)} frames at {fps:g} fps, none at one of the times asked for; "
            "ask for others"
        )
    return torch.stack([read_image_pixels(frames[index], size) for index in indices])
