"""From latent video to pixels: three decoders, of which any may stand in another's place.

All are made around the decoder of a diffusers `AutoencoderKL`, whose weights they copy, and give
at the start, frame by frame, exactly what it gives. They are the rows of MoVideo Table 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import count, zip_longest
from typing import Any, NamedTuple

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin
from torch import Tensor, nn

from movideo.models.alignment import FlowAlignment
from movideo.models.autoencoder import VideoAutoencoder
from movideo.models.temporal import TemporalConvolution
from movideo.ops import resize_flow


class Clips(NamedTuple):
    """What layers that see more than one frame know of the clips.

    Attributes:
        frames: F.
        key_index: `(B,)`.
        flow_i2v: `(B, F, 2, H, W)`, pixels at full resolution, or None.
    """

    frames: int
    key_index: Tensor
    flow_i2v: Tensor | None


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
        batch, frames = z.shape[:2]
        key = torch.as_tensor(frames // 2 if key_index is None else key_index, device=z.device)
        clips = Clips(frames, key.expand(batch), flow_i2v)
        x = (z / self.scaling_factor + self.shift_factor).flatten(0, 1)
        if self.post_quant_conv is not None:
            x = self.post_quant_conv(x)
        x = self._traverse(self.spatial.conv_in(x), clips)
        x = self.spatial.conv_act(self.spatial.conv_norm_out(x))
        video: Tensor = self.spatial.conv_out(x).unflatten(0, (batch, frames))
        return video

    def _traverse(self, x: Tensor, clips: Clips) -> Tensor:
        """Features `(B * F, C, h, w)` of the lowest level to those of the highest."""
        layers = count()
        for level, blocks in enumerate(self._levels()):
            for block in blocks:
                for resnet, attention in zip_longest(
                    block.resnets, getattr(block, "attentions", ())
                ):
                    x = self._mix(next(layers), resnet(x, None), clips)
                    x = x if attention is None else attention(x)
            x = self._align(level, x, clips)
            for upsample in blocks[-1].upsamplers or ():
                x = upsample(x)
        return x

    def _levels(self) -> list[list[Any]]:
        """The blocks of each resolution."""
        first, *others = self.spatial.up_blocks
        return [[self.spatial.mid_block, first], *([block] for block in others)]

    def _mix(self, layer: int, x: Tensor, clips: Clips) -> Tensor:
        """What follows a residual block."""
        return x

    def _align(self, level: int, x: Tensor, clips: Clips) -> Tensor:
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

    def _mix(self, layer: int, x: Tensor, clips: Clips) -> Tensor:
        mixed: Tensor = self.temporal_convolutions[layer](x, clips.frames)
        return mixed


class FlowAugmentedDecoder(TemporalDecoder):
    """The 3-D decoder that sees the key frame along the flow at every level (Eq. 14 to 17)."""

    label = "flow-augmented"

    def __init__(self, autoencoder: VideoAutoencoder | Mapping[str, Any]) -> None:
        super().__init__(autoencoder)
        groups = self.config.autoencoder["norm_num_groups"]
        self.alignments = nn.ModuleList(
            FlowAlignment(blocks[-1].resnets[-1].out_channels, groups) for blocks in self._levels()
        )

    def _align(self, level: int, x: Tensor, clips: Clips) -> Tensor:
        """Refines a level's features.

        Raises:
            ValueError: no flow was given.
        """
        if clips.flow_i2v is None:
            raise ValueError("flow_i2v: this decoder aligns along it; give it")
        flow = resize_flow(clips.flow_i2v, (x.shape[-2], x.shape[-1]))
        features = x.unflatten(0, (-1, clips.frames))
        aligned: Tensor = self.alignments[level](features, clips.key_index, flow)
        return aligned.flatten(0, 1)
