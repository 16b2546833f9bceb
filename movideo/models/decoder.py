"""From latent video to pixels: three decoders, of which any may stand in another's place.

All are made around the decoder of a diffusers `AutoencoderKL`, whose weights they copy, and give
at the start, frame by frame, exactly what it gives. They are the rows of MoVideo Table 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count, zip_longest
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin
from torch import Tensor, nn

from movideo.errors import UserError
from movideo.hub.checkpoint import check_same
from movideo.hub.model_folder import starting_point
from movideo.models.alignment import FlowAlignment
from movideo.models.autoencoder import VideoAutoencoder
from movideo.models.temporal import TemporalConvolution
from movideo.ops import resize_flow


@dataclass(frozen=True)
class Window:
    """The frames of the clips that a layer has at hand, and what it may know of the others.

    Attributes:
        wanted: the frames that are to be decoded.
        total: F, frames of the whole clips.
        key_index: `(B,)`, counted in the whole clips.
        flow_i2v: `(B, F, 2, H, W)` of the whole clips, pixels at full resolution, or None.
        key_features: the key frames' features `(B, C, h, w)`, by level. The first window that
            comes to a level with the key frames at hand leaves them there for all later ones.
        reach: how far the layers to come see on both sides of what is wanted.
    """

    wanted: range
    total: int
    key_index: Tensor
    flow_i2v: Tensor | None
    key_features: dict[int, Tensor]
    reach: int = 0

    @property
    def frames(self) -> range:
        """Those at hand: what is wanted and what the layers to come see, as far as the clips go."""
        first, last = self.wanted.start - self.reach, self.wanted.stop + self.reach
        return range(max(0, first), min(self.total, last))

    def cut(self, x: Tensor, frames: range) -> Tensor:
        """This window's frames of what holds `frames`: `(B * F', …)` to `(B * F'', …)`."""
        if frames == self.frames:
            return x
        start = self.frames.start - frames.start
        clips = x.unflatten(0, (-1, len(frames)))
        kept: Tensor = clips[:, start : start + len(self.frames)].flatten(0, 1)
        return kept


class VideoDecoder(ModelMixin, ConfigMixin):
    """What stands at the end of the chain: a 2-D decoder, and hooks for what looks at other frames.

    Args:
        autoencoder: the autoencoder whose decoder is copied, or the config of one, for weights that
            are still to be loaded.

    Attributes:
        label: what its row in a table is called.
    """

    config_name = "config.json"
    label: str

    def __init__(self, autoencoder: VideoAutoencoder | Mapping[str, Any]) -> None:
        super().__init__()
        if not isinstance(autoencoder, VideoAutoencoder):
            autoencoder = VideoAutoencoder(None, dict(autoencoder))
        self.register_to_config(autoencoder=autoencoder.config)
        self.scaling_factor = autoencoder.scaling_factor
        self.shift_factor = autoencoder.shift_factor
        self.post_quant_conv = deepcopy(autoencoder.model.post_quant_conv)
        self.spatial = deepcopy(autoencoder.model.decoder)
        self.requires_grad_(True)

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight that makes pixels, at which the weight of GAN terms is measured."""
        weight: nn.Parameter = self.spatial.conv_out.weight
        return weight

    def spatial_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the 2-D decoder."""
        named = self.named_parameters()
        return (p for name, p in named if name.startswith(("spatial.", "post_quant_conv.")))

    def new_parameters(self) -> Iterator[nn.Parameter]:
        """All other parameters: what looks at other frames."""
        old = set(self.spatial_parameters())
        return (parameter for parameter in self.parameters() if parameter not in old)

    def forward(
        self, z: Tensor, flow_i2v: Tensor | None = None, key_index: int | Tensor | None = None
    ) -> Tensor:
        """Decodes a latent video.

        Args:
            z: `(B, F, c, h, w)`, scaled as the autoencoder gives it.
            flow_i2v: `(B, F, 2, H, W)`, pixels at full resolution.
            key_index: the key frame's index, one for all clips or `(B,)`; the centre by default.

        Returns:
            Video `(B, F, 3, H, W)`, [-1, 1] up to overshoot.
        """
        key = self._key(z, key_index)
        total = z.shape[1]
        return self._decode(z, Window(range(total), total, key, flow_i2v, {}))

    def in_chunks(
        self,
        z: Tensor,
        flow_i2v: Tensor | None = None,
        key_index: int | Tensor | None = None,
        chunk: int = 16,
    ) -> Iterator[Tensor]:
        """Decodes as `forward` does, a few frames at a time, in memory that F has no part in.

        Every chunk is decoded with as many frames around it as the layers to come still see. The
        key frames' features are computed once, with the frames around them, and kept.

        Args:
            z: as for `forward`; it and the flow may stay on another device than the decoder.
            flow_i2v: as for `forward`.
            key_index: as for `forward`.
            chunk: frames of a chunk.

        Yields:
            `(B, chunk, 3, H, W)` on the decoder's device, one after another; the last is shorter.

        Raises:
            ValueError: a chunk would hold no frame.
        """
        if chunk < 1:
            raise ValueError(f"chunk {chunk}: must be at least one frame")
        total, key = z.shape[1], self._key(z, key_index)
        features = self._key_features(z, flow_i2v, key)
        for start in range(0, total, chunk):
            wanted = range(start, min(start + chunk, total))
            yield self._decode(z, Window(wanted, total, key, flow_i2v, features))

    def _key(self, z: Tensor, key_index: int | Tensor | None) -> Tensor:
        key = torch.as_tensor(z.shape[1] // 2 if key_index is None else key_index)
        return key.to(self.last_layer.device).expand(len(z))

    def _key_features(self, z: Tensor, flow_i2v: Tensor | None, key: Tensor) -> dict[int, Tensor]:
        """What all chunks must know of the key frames."""
        return {}

    def _decode(self, z: Tensor, window: Window) -> Tensor:
        """The frames that the window wants of `z (B, F, c, h, w)`."""
        reaches = self._reaches()
        window = replace(window, reach=sum(reaches))
        x = z[:, window.frames.start : window.frames.stop].to(self.last_layer.device)
        x = (x / self.scaling_factor + self.shift_factor).flatten(0, 1)
        if self.post_quant_conv is not None:
            x = self.post_quant_conv(x)
        x = self._traverse(self.spatial.conv_in(x), window, reaches)
        x = self.spatial.conv_act(self.spatial.conv_norm_out(x))
        video: Tensor = self.spatial.conv_out(x).unflatten(0, (len(z), len(window.wanted)))
        return video

    def _traverse(self, x: Tensor, window: Window, reaches: Sequence[int]) -> Tensor:
        """Features `(B * F', C, h, w)` of the lowest level to those of the highest."""
        layers = count()
        for level, blocks in enumerate(self._levels()):
            for block in blocks:
                for resnet, attention in zip_longest(
                    block.resnets, getattr(block, "attentions", ())
                ):
                    layer, seen = next(layers), window.frames
                    x = self._mix(layer, resnet(x, None), len(seen))
                    window = replace(window, reach=sum(reaches[layer + 1 :]))
                    x = window.cut(x, seen)
                    x = x if attention is None else attention(x)
            x = self._align(level, x, window)
            for upsample in blocks[-1].upsamplers or ():
                x = upsample(x)
        return x

    def _levels(self) -> list[list[Any]]:
        """The blocks of each resolution."""
        first, *others = self.spatial.up_blocks
        return [[self.spatial.mid_block, first], *([block] for block in others)]

    def _reaches(self) -> list[int]:
        """How many frames either way what follows each residual block sees."""
        return [0 for blocks in self._levels() for block in blocks for _ in block.resnets]

    def _mix(self, layer: int, x: Tensor, frames: int) -> Tensor:
        """What follows a residual block."""
        return x

    def _align(self, level: int, x: Tensor, window: Window) -> Tensor:
        """What ends a level."""
        return x


class FrameDecoder(VideoDecoder):
    """The autoencoder's own 2-D decoder: every frame by itself."""

    label = "2-D"


class TemporalDecoder(VideoDecoder):
    """The 3-D decoder: every residual block is followed by convolutions over frames.

    Two convolutions, kernel 3, as the residual block has two: one for each spatial one.
    """

    label = "3-D"

    def __init__(self, autoencoder: VideoAutoencoder | Mapping[str, Any]) -> None:
        super().__init__(autoencoder)
        groups = self.config.autoencoder["norm_num_groups"]
        self.temporal_convolutions = nn.ModuleList(
            TemporalConvolution(resnet.out_channels, groups)
            for blocks in self._levels()
            for block in blocks
            for resnet in block.resnets
        )

    def _reaches(self) -> list[int]:
        return [cast(TemporalConvolution, layer).reach for layer in self.temporal_convolutions]

    def _mix(self, layer: int, x: Tensor, frames: int) -> Tensor:
        mixed: Tensor = self.temporal_convolutions[layer](x, frames)
        return mixed


class FlowAugmentedDecoder(TemporalDecoder):
    """The 3-D decoder that sees the key frame along the flow at every level (Eq. 14 to 17).

    Args:
        autoencoder: see `VideoDecoder`.
        max_residual: see `FlowAlignment`.

    Raises:
        UserError: the bound is not positive.
    """

    label = "flow-augmented"

    def __init__(
        self,
        autoencoder: VideoAutoencoder | Mapping[str, Any],
        max_residual: float | None = None,
    ) -> None:
        super().__init__(autoencoder)
        if max_residual is not None and not max_residual > 0:
            raise UserError(f"decoder: max_residual {max_residual}; give more than 0, or null")
        self.register_to_config(max_residual=max_residual)
        groups = self.config.autoencoder["norm_num_groups"]
        self.alignments = nn.ModuleList(
            FlowAlignment(blocks[-1].resnets[-1].out_channels, groups, max_residual)
            for blocks in self._levels()
        )

    def _key_features(self, z: Tensor, flow_i2v: Tensor | None, key: Tensor) -> dict[int, Tensor]:
        """The key frames' features of every level: each is decoded, as the only one wanted."""
        alone: list[dict[int, Tensor]] = []
        for i, k in enumerate(key.tolist()):
            one = slice(i, i + 1)
            flow = None if flow_i2v is None else flow_i2v[one]
            window = Window(range(k, k + 1), z.shape[1], key[one], flow, {})
            self._decode(z[one], window)
            alone.append(window.key_features)
        return {level: torch.cat([features[level] for features in alone]) for level in alone[0]}

    def _align(self, level: int, x: Tensor, window: Window) -> Tensor:
        """Refines a level's features.

        Raises:
            ValueError: no flow was given.
        """
        if window.flow_i2v is None:
            raise ValueError("flow_i2v: this decoder aligns along it; give it")
        flow = window.flow_i2v[:, window.frames.start : window.frames.stop].to(x.device)
        flow = resize_flow(flow, (x.shape[-2], x.shape[-1]))
        features = x.unflatten(0, (-1, len(window.frames)))
        if level not in window.key_features:
            clip = torch.arange(len(features), device=x.device)
            window.key_features[level] = features[clip, window.key_index - window.frames.start]
        aligned: Tensor = self.alignments[level](features, window.key_features[level], flow)
        return aligned.flatten(0, 1)


def load_decoder(place: str | Path, autoencoder: VideoAutoencoder) -> VideoDecoder:
    """A decoder that stage 3 trained, to decode the latents of this autoencoder.

    Args:
        place: a checkpoint of stage 3, or a model.
        autoencoder: makes the latents.

    Raises:
        UserError: it is neither, or decodes other latents.
    """
    checkpoint = starting_point(place, "decoder")
    check_same(autoencoder, checkpoint.components["autoencoder"], place)
    decoder: VideoDecoder = checkpoint.component("decoder")
    return decoder
