"""Contact sheets: what belongs together, side by side, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms import functional as TF

LABEL_WIDTH = 96
GAP = 2


def contact_sheet(rows: Mapping[str, Tensor], columns: int = 5, cell_height: int = 96) -> Tensor:
    """Draws one row of frames for each video.

    Args:
        rows: videos `(F, 3, H, W)` in [-1, 1] by the title of their row.
        columns: frames shown, evenly spread from the first to the last.
        cell_height: height of a picture in pixels.

    Returns:
        `(3, height, width)` in [-1, 1].
    """
    return torch.cat(
        [_row(title, video, columns, cell_height) for title, video in rows.items()], dim=1
    )


def _row(title: str, video: Tensor, columns: int, cell_height: int) -> Tensor:
    video = video.detach().float().cpu().clamp(-1, 1)
    chosen = np.linspace(0, len(video) - 1, min(columns, len(video))).round().astype(int)
    height, width = video.shape[-2:]
    cells = TF.resize(
        video[chosen],
        [cell_height, round(width * cell_height / height)],
        # Nearest: a contact sheet is for seeing what is there, not for looking smooth.
        interpolation=TF.InterpolationMode.NEAREST,
    )
    cells = torch.nn.functional.pad(cells, (GAP, 0, GAP, 0), value=1.0)
    return torch.cat([_label(title, cells.shape[-2]), *cells], dim=-1)


def _label(title: str, height: int) -> Tensor:
    image = Image.new("RGB", (LABEL_WIDTH, height), "white")
    ImageDraw.Draw(image).multiline_text((4, 4), title.replace(" ", "\n"), fill="black")
    pixels: Tensor = TF.to_tensor(image)
    return pixels * 2 - 1
