"""The image encoder, for those who bring no pretrained one: taught motion from single pictures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from movideo.clips.batch import ClipBatch, key_frames
from movideo.models import ImageEncoder
from movideo.ops import normalize_depth, resize, resize_flow
from stages.base import Stage

VELOCITY_UNIT = 0.1  # of the frame's side, a second: what brings velocities near one


class MotionRegression(Stage):
    """Trains an image encoder to tell depth and velocity of what a picture shows.

    A linear head reads both off each patch token, cell by cell; it is thrown away. Where a picture
    leaves motion open this learns the mean of what may happen: enough to know where things are and
    which way they point, after thousands of pictures at a fraction of a clip's cost each.

    Args:
        image_encoder: trained here.
        cells: of a patch along each side, each with a depth and a velocity of its own.
        kwargs: see `Stage`.
    """

    model_role = "image_encoder"

    def __init__(self, image_encoder: ImageEncoder, cells: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_encoder = image_encoder
        self.cells = cells
        self.head = nn.Linear(image_encoder.token_dim, 3 * cells * cells)

    def components(self) -> dict[str, object]:
        """The image encoder."""
        return {"image_encoder": self.image_encoder}

    def predict(self, images: Tensor) -> Tensor:
        """Depth and velocity `(B, 3, h, w)` of pictures `(B, 3, H, W)` in [-1, 1].

        Depth is in [-1, 1], near is large; velocity to the right and down, in tenths of the frame's
        side a second. The grid is that of the patches, `cells` times finer.
        """
        rows, columns = self.image_encoder.visual.grid_size
        patches = self.image_encoder(images)[:, 1:] - self.image_encoder.positions
        maps: Tensor = rearrange(
            self.head(patches), "b (r c) (x i j) -> b x (r i) (c j)",
            r=rows, c=columns, i=self.cells, j=self.cells,
        )  # fmt: skip
        return maps

    def target(self, batch: ClipBatch) -> Tensor:
        """The same of the labels, along the longest time that a clip has."""
        rows, columns = self.image_encoder.visual.grid_size
        size = (rows * self.cells, columns * self.cells)
        key, frames = batch["key_index"], batch["depth"].shape[1]
        last = torch.where(key < frames - 1 - key, frames - 1, 0)  # the end that is farther away
        seconds = (last - key) / batch["fps"]
        flow = resize_flow(key_frames(batch["flow_v2i"], last), size)
        sides = torch.tensor([size[1], size[0]], device=flow.device)[:, None, None]
        velocity = flow / sides / seconds[:, None, None, None] / VELOCITY_UNIT
        depth = key_frames(resize(normalize_depth(batch["depth"]), size), key)
        return torch.cat([depth, velocity], dim=1)

    def _losses(self, batch: ClipBatch) -> Tensor:
        """Squared errors, one value a clip `(B,)`."""
        found = self.predict(key_frames(batch["video"], batch["key_index"]))
        return F.mse_loss(found, self.target(batch), reduction="none").mean(dim=(1, 2, 3))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """One step on the key frames of the batch."""
        loss = self._losses(batch).mean()
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The same loss, with the averaged weights."""
        with self.averaged_weights():
            self.validation_means.add(batch["name"], {"loss": self._losses(batch)})
