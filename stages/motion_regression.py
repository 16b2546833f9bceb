"""The image encoder, for those who bring no pretrained one: taught motion from single pictures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from movideo.clips.batch import ClipBatch, key_frames
from movideo.models import ImageEncoder
from movideo.motion.key_frame_motion import VELOCITY_UNIT, KeyFrameMotion
from movideo.ops import normalize_depth, resize, resize_flow
from stages.base import Stage


class MotionRegression(Stage):
    """Trains an image encoder to tell depth and velocity of what a picture shows.

    `KeyFrameMotion` reads both off each patch token, and stage 1 goes on with it. Where a picture
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
        self.key_frame = KeyFrameMotion(image_encoder.token_dim, cells)

    def components(self) -> dict[str, object]:
        """The image encoder, and what reads motion off its tokens."""
        return {"image_encoder": self.image_encoder, "key_frame": self.key_frame}

    def predict(self, images: Tensor) -> Tensor:
        """What `KeyFrameMotion.foretell` says of pictures `(B, 3, H, W)` in [-1, 1]."""
        maps: Tensor = self.key_frame.foretell(self.image_encoder(images))
        return maps

    def target(self, batch: ClipBatch) -> Tensor:
        """The same of the labels, along the longest time that a clip has."""
        rows, columns = self.image_encoder.visual.grid_size
        size = (rows * self.key_frame.cells, columns * self.key_frame.cells)
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
