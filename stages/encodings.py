"""What encoders make of a batch: as it comes with the batch, or made here from its video."""

from __future__ import annotations

import torch
from torch import Tensor

from movideo.clips.batch import ClipBatch, key_frames
from movideo.models import ImageEncoder, VideoAutoencoder


def latents(batch: ClipBatch, autoencoder: VideoAutoencoder) -> Tensor:
    """The latent video, `(B, F, c, h, w)`, without gradients."""
    if "latents" in batch:
        return batch["latents"]
    with torch.no_grad():
        return autoencoder.encode(batch["video"])


def key_latent(batch: ClipBatch, autoencoder: VideoAutoencoder) -> Tensor:
    """The key frame's latent, `(B, c, h, w)`, without gradients."""
    if "latents" in batch:
        return key_frames(batch["latents"], batch["key_index"])
    with torch.no_grad():
        return autoencoder.encode(key_frames(batch["video"], batch["key_index"])[:, None])[:, 0]


def key_tokens(batch: ClipBatch, image_encoder: ImageEncoder) -> Tensor:
    """The key frame's tokens, `(B, N, D)`, with gradients where the encoder is trained."""
    if "tokens" in batch:
        return batch["tokens"]
    tokens: Tensor = image_encoder(key_frames(batch["video"], batch["key_index"]))
    return tokens
