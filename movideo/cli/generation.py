"""What `movideo generate` reads, computes on and writes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from movideo.cli.tools import DType
from movideo.errors import UserError
from movideo.text_to_image import TextToImage
from movideo.video.read import read_image
from movideo.video.write import write_gif, write_mp4


def read_key_frame(
    image: str | None,
    prompt: str | None,
    text_to_image: str | None,
    size: tuple[int, int],
    generator: torch.Generator,
    device: torch.device,
    dtype: DType,
) -> Tensor:
    """`(3, H, W)`, read or drawn; what draws is gone again before the video needs the memory."""
    match image, prompt, text_to_image:
        case str(path), None, None:
            return read_image(path, size)
        case None, str(words), str(name):
            return TextToImage(name, dtype=dtype).to(device)([words], size, generator)[0]
    raise UserError(
        f"--image {image} --prompt {prompt} --text_to_image {text_to_image}: give either the first "
        "or both others, the last being a hub id or folder of diffusers"
    )


def named_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        UserError: it is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError) as error:  # no such kind, or none here
        raise UserError(f"--device {name}: not on this machine; use cpu or auto") from error


def write_video(path: str, video: Tensor, fps: float) -> None:
    """Writes a video `(F, 3, H, W)` as mp4, or as GIF by its suffix."""
    write = write_gif if Path(path).suffix == ".gif" else write_mp4
    write(path, video, fps)
