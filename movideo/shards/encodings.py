"""Clips in, what frozen encoders make of them out: latents, and tokens of the key frame.

Kept ahead of training, they spare it the encoders and, where nothing else needs it, the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from movideo.clips.clip import Clip, read_clip
from movideo.errors import UserError
from movideo.shards.producer import RowProducer
from movideo.shards.shard import Row
from movideo.video.read import read_frames

if TYPE_CHECKING:  # they take seconds to import, and the command's help needs neither
    from movideo.models import ImageEncoder, VideoAutoencoder


@dataclass(frozen=True)
class ClipLatents(Row):
    """The latent video of a clip, `(F, c, h, w)`, as `VideoAutoencoder.encode` gives it."""

    noun = "latents"

    latents: Tensor


@dataclass(frozen=True)
class ClipTokens(Row):
    """The tokens of a clip's key frame, `(N, D)`, as `ImageEncoder` gives them."""

    noun = "tokens"

    tokens: Tensor


@dataclass(frozen=True)
class LatentProducer(RowProducer[ClipLatents]):
    """Reads clips and encodes their frames."""

    kind = ClipLatents

    encoder: VideoAutoencoder
    device: torch.device | str = "cpu"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The autoencoder's hash."""
        return {"autoencoder": self.encoder.fingerprint()}

    @property
    @override
    def networks(self) -> Sequence[nn.Module]:
        return (self.encoder,)

    @torch.no_grad()
    @override
    def make(self, clip: Clip) -> ClipLatents:
        video = read_clip(clip).to(self.device)
        return ClipLatents(self.encoder.to(self.device).encode(video[None])[0])


@dataclass(frozen=True)
class TokenProducer(RowProducer[ClipTokens]):
    """Reads the key frames of clips and encodes them."""

    kind = ClipTokens

    encoder: ImageEncoder
    device: torch.device | str = "cpu"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The image encoder's hash."""
        return {"image_encoder": self.encoder.fingerprint()}

    @property
    @override
    def networks(self) -> Sequence[nn.Module]:
        return (self.encoder,)

    @torch.no_grad()
    @override
    def make(self, clip: Clip) -> ClipTokens:
        image = read_frames(clip.video, [clip.times[clip.key_index]], clip.size).to(self.device)
        return ClipTokens(self.encoder.to(self.device)(image)[0])


class Encoders:
    """The encoders whose output is kept ahead of training.

    Args:
        autoencoder: its latents are kept, of all frames.
        image_encoder: its tokens are kept, of the key frame.

    Raises:
        UserError: neither is given.
    """

    def __init__(
        self,
        autoencoder: VideoAutoencoder | None = None,
        image_encoder: ImageEncoder | None = None,
    ) -> None:
        if autoencoder is None and image_encoder is None:
            raise UserError("data.encoders: empty; give an autoencoder, an image_encoder or both")
        self.autoencoder = autoencoder
        self.image_encoder = image_encoder
        for encoder in (autoencoder, image_encoder):
            if encoder is not None:
                encoder.eval().requires_grad_(False)

    def producers(self, device: torch.device | str) -> dict[str, LatentProducer | TokenProducer]:
        """What makes the rows of each encoder that is given, by the encoder's name."""
        producers: dict[str, LatentProducer | TokenProducer] = {}
        if self.autoencoder is not None:
            producers["autoencoder"] = LatentProducer(self.autoencoder, device)
        if self.image_encoder is not None:
            producers["image_encoder"] = TokenProducer(self.image_encoder, device)
        return producers
