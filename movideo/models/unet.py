"""A 2-D diffusion UNet made spatio-temporal (MoVideo Fig. 2).

The 2-D network is kept whole, under the name `spatial`, so that pretrained weights load as they
are. Its layers see every frame by itself; a temporal layer follows each of them.
"""

from collections.abc import Iterator
from inspect import signature
from itertools import islice, zip_longest
from typing import Any, ClassVar

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub.needs import DIFFUSERS_FILES, WeightSpec
from movideo.hub.pretrained import load_diffusers, published_noise
from movideo.models.backbone import Backbone
from movideo.models.cpu import convolve_linears, laid_out
from movideo.models.temporal import (
    SharedTokens,
    SpatioTemporalLayer,
    TemporalAttention,
    TemporalConvolution,
    key_distance,
    zero_,
)

# A scale is a logarithm: steps of a tenth of it, not of one, are to tell apart.
SCALE_STEPS = 100
BLOCKS = {
    "CrossAttnDownBlock2D",
    "DownBlock2D",
    "UNetMidBlock2DCrossAttn",
    "CrossAttnUpBlock2D",
    "UpBlock2D",
}
# Settings that Stable Diffusion 1 and 2 leave alone, and that `forward` knows nothing of.
UNSUPPORTED = (
    "addition_embed_type",
    "center_input_sample",
    "class_embed_type",
    "dual_cross_attention",
    "encoder_hid_dim",
    "time_embedding_act_fn",
)


class SpatioTemporalUNet(Backbone):
    """Diffusion UNet over clips, conditioned on image tokens, fps and the key frame's place.

    At the start every added part is neutral: the result is, frame by frame, that of the 2-D
    network given the projected tokens.

    Args:
        unet_2d: constructor config of the 2-D `UNet2DConditionModel`.
        in_channels: channels C of the sample. Those beyond the 2-D network's own, the last ones,
            enter through a convolution that starts at zero. The 2-D network's by default.
        out_channels: channels of the result. If not the 2-D network's own (the default), its last
            convolution gives way to a new one.
        image_token_dim: width D of the image tokens; the cross-attention width by default.
        temporal_head_dim: channels a head of temporal attention.
        shortcut: for each channel of the result the channel of the sample that it starts as: a
            linear layer leads there past the network, which starts at zero. So one that predicts
            the clean sample may start from its condition. By default, and if the list is empty,
            nothing leads past it.
        takes_scale: be told how far things are to move, as of fps: stage 1 where it is predicted.
        pretrained: the 2-D network's weights: a folder in diffusers' layout, a hub id, a
            .safetensors file, or null for random ones. Their architecture must be `unet_2d`.
        subfolder: where they lie inside the folder or repository (`unet` in a pipeline's).
        revision: the hub revision to pin.
        gradient_checkpointing: recompute each layer in the backward pass instead of keeping what
            it computed: a third more time, a fraction of the memory.

    Raises:
        UserError: the weights are missing, incomplete, or of another kind or architecture.
        ValueError: if the 2-D network needs inputs or blocks that are not known here, or takes
            more channels than `in_channels`, or if `shortcut` names others than there are.
    """

    weight_spec = WeightSpec(files=DIFFUSERS_FILES)

    _supports_gradient_checkpointing = True
    # Where weights came from and how they are trained is no part of what is saved with them.
    ignore_for_config: ClassVar = ["pretrained", "subfolder", "revision", "gradient_checkpointing"]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        unet_2d: dict[str, Any],
        in_channels: int | None = None,
        out_channels: int | None = None,
        image_token_dim: int | None = None,
        temporal_head_dim: int = 32,
        takes_scale: bool = False,
        shortcut: list[int] | None = None,
        pretrained: str | None = None,
        subfolder: str | None = None,
        revision: str | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.spatial = _spatial(unet_2d, pretrained, subfolder, revision)
        if pretrained is not None:
            self.learnt_noise = published_noise(pretrained, revision)
        config = self.spatial.config
        in_channels = in_channels or config.in_channels
        _check(config, in_channels)
        out_channels = out_channels or config.out_channels
        width = config.cross_attention_dim
        image_token_dim = image_token_dim or width
        self.register_to_config(
            in_channels=in_channels, out_channels=out_channels, image_token_dim=image_token_dim
        )
        self.spatial.set_attn_processor(SharedTokens())
        self.conv_in = _extra_input(config, in_channels)
        self.conv_out: nn.Module = nn.Identity()
        if out_channels != config.out_channels:
            old = self.spatial.conv_out
            self.conv_out = nn.Conv2d(
                old.in_channels, out_channels, old.kernel_size, padding=old.padding
            )
            self.spatial.conv_out = nn.Identity()
        self.direct: nn.Conv2d | None = None
        if shortcut:
            self.direct = _selection(shortcut, in_channels, out_channels)
            zero_(self.conv_out if out_channels != config.out_channels else self.spatial.conv_out)
        self.fps_encoding = Timesteps(config.block_out_channels[0], True, 0)
        self.fps_embedding = self._embedding_of_a_number()
        if takes_scale:
            self.scale_encoding = Timesteps(config.block_out_channels[0], True, 0, SCALE_STEPS)
            self.scale_embedding = self._embedding_of_a_number()
        self.token_projection = nn.Linear(image_token_dim, width)
        self.null_token = nn.Parameter(torch.zeros(width))
        self.temporal_convolutions = nn.ModuleList(
            TemporalConvolution(resnet.out_channels, config.norm_num_groups)
            for block in self._blocks()
            for resnet in block.resnets
        )
        self.temporal_attentions = nn.ModuleList(
            TemporalAttention(transformer.config.in_channels, temporal_head_dim)
            for block in self._blocks()
            for transformer in getattr(block, "attentions", ())
        )
        convolve_linears(self)
        self.gradient_checkpointing = False
        if gradient_checkpointing:
            self.enable_gradient_checkpointing()

    @override
    def forward(
        self,
        sample: Tensor,
        timestep: int | Tensor,
        image_tokens: Tensor | None,
        fps: Tensor,
        key_index: int | Tensor | None = None,
        drop_tokens: Tensor | None = None,
        log_scale: Tensor | None = None,
    ) -> Tensor:
        """Denoises a clip; dropped tokens give way to the null token."""
        batch, frames = sample.shape[:2]
        embedding = self._embedding(sample, timestep, fps)
        if log_scale is not None:
            embedding = embedding + self._embedded_scale(log_scale, sample.dtype)
        context = (
            embedding.repeat_interleave(frames, dim=0),
            self._tokens(batch, image_tokens, drop_tokens),
            key_distance(batch, frames, key_index, sample.device),
        )
        x = self._input(laid_out(sample.flatten(0, 1)))
        x = self._traverse(x, *context)
        x = self.spatial.conv_act(self.spatial.conv_norm_out(x))
        out: Tensor = self.conv_out(self.spatial.conv_out(x))
        if self.direct is not None:
            out = out + self.direct(sample.flatten(0, 1))
        return out.view(batch, frames, *out.shape[1:])

    @override
    def spatial_parameters(self) -> Iterator[nn.Parameter]:
        parameters: Iterator[nn.Parameter] = self.spatial.parameters()  # of the 2-D network
        return parameters

    def _embedding_of_a_number(self) -> TimestepEmbedding:
        embedding = TimestepEmbedding(
            self.spatial.config.block_out_channels[0],
            self.spatial.time_embedding.linear_2.out_features,
        )
        zero_(embedding.linear_2)
        return embedding

    def _embedding(self, sample: Tensor, timestep: int | Tensor, fps: Tensor) -> Tensor:
        unet = self.spatial
        of_time: Tensor = unet.time_embedding(unet.get_time_embed(sample, timestep))
        of_fps: Tensor = self.fps_embedding(self.fps_encoding(fps).to(sample.dtype))
        return of_time + of_fps

    def _embedded_scale(self, log_scale: Tensor, dtype: torch.dtype) -> Tensor:
        known = ~log_scale.isnan()
        encoded = self.scale_encoding(log_scale.where(known, 0)).to(dtype)
        embedded: Tensor = self.scale_embedding(encoded)
        return embedded * known[:, None]

    def _tokens(self, batch: int, image_tokens: Tensor | None, drop: Tensor | None) -> Tensor:
        if image_tokens is None:
            # Attention to N equal tokens is attention to one of them.
            return self.null_token.expand(batch, 1, -1)
        tokens = self.token_projection(image_tokens)
        if drop is None:
            drop = torch.zeros(batch, dtype=torch.bool, device=tokens.device)
        # Also when nothing drops: every step then gives every parameter a gradient, as DDP asks.
        return torch.where(drop[:, None, None], self.null_token.to(tokens.dtype), tokens)

    def _input(self, x: Tensor) -> Tensor:
        own = self.spatial.config.in_channels
        base, extra = x.split((own, self.config.in_channels - own), dim=1)
        hidden: Tensor = self.spatial.conv_in(base)
        return hidden if self.conv_in is None else hidden + self.conv_in(extra)

    def _traverse(self, x: Tensor, *context: Tensor) -> Tensor:
        unet, blocks, skips = self.spatial, self._layers(), [x]
        for block, layers in islice(blocks, len(unet.down_blocks)):
            for layer in layers:
                x = self._run(layer, x, None, *context)
                skips.append(x)
            for downsample in block.downsamplers or ():
                x = downsample(x)
                skips.append(x)
        for layer in next(blocks)[1]:
            x = self._run(layer, x, None, *context)
        for block, layers in blocks:
            for layer in layers:
                x = self._run(layer, x, skips.pop(), *context)
            for upsample in block.upsamplers or ():
                # The size matters where a side was odd and halving rounded.
                x = upsample(x, skips[-1].shape[-2:])
        return x

    def _run(self, layer: SpatioTemporalLayer, *inputs: Any) -> Tensor:
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return layer(*inputs)
        x: Tensor = self._gradient_checkpointing_func(layer, *inputs)
        return x

    def _blocks(self) -> tuple[Any, ...]:
        unet = self.spatial
        return (*unet.down_blocks, unet.mid_block, *unet.up_blocks)

    def _layers(self) -> Iterator[tuple[Any, list[SpatioTemporalLayer]]]:
        convolutions = iter(self.temporal_convolutions)
        attentions = iter(self.temporal_attentions)
        for block in self._blocks():
            pairs = zip_longest(block.resnets, getattr(block, "attentions", ()))
            layers = [
                SpatioTemporalLayer(
                    resnet,
                    next(convolutions),
                    transformer,
                    next(attentions) if transformer else None,
                )
                for resnet, transformer in pairs
            ]
            yield block, layers

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Any = checkpoint
    ) -> None:
        # Whole layers only: the 2-D network's own transformers would recompute a second time.
        self.gradient_checkpointing = enable
        self._gradient_checkpointing_func = gradient_checkpointing_func


def inflate_unet(
    unet_2d: UNet2DConditionModel,
    in_channels: int | None = None,
    out_channels: int | None = None,
    image_token_dim: int | None = None,
) -> SpatioTemporalUNet:
    """Make a 2-D UNet, pretrained or not, spatio-temporal.

    Args:
        unet_2d: any diffusers UNet of Stable Diffusion's kind (1.5 and 2.x both). Not changed: its
            weights are copied.
        in_channels: as for `SpatioTemporalUNet`.
        out_channels: as for `SpatioTemporalUNet`.
        image_token_dim: as for `SpatioTemporalUNet`.

    Returns:
        A network of the same dtype and device that gives, frame by frame, what `unet_2d` gives.
    """
    config = {name: value for name, value in unet_2d.config.items() if not name.startswith("_")}
    model: SpatioTemporalUNet
    model = SpatioTemporalUNet(config, in_channels, out_channels, image_token_dim)
    kept = model.spatial.state_dict()
    weights = unet_2d.state_dict()
    model.spatial.load_state_dict({name: weights[name] for name in kept})
    model.train(unet_2d.training).to(unet_2d.device)
    if model.dtype != unet_2d.dtype:
        model.to(unet_2d.dtype)
    return model


def _spatial(
    unet_2d: dict[str, Any], pretrained: str | None, subfolder: str | None, revision: str | None
) -> UNet2DConditionModel:
    if pretrained is None:
        known = signature(UNet2DConditionModel).parameters
        for name in unet_2d:
            if name not in known and not name.startswith("_"):  # diffusers' own notes
                raise UserError(f"unet_2d: UNet2DConditionModel has no {name}; mend its name")
        return UNet2DConditionModel.from_config(unet_2d)
    # As before training: diffusers loads in evaluation mode.
    return load_diffusers(UNet2DConditionModel, pretrained, unet_2d, subfolder, revision).train()


def _extra_input(config: FrozenDict, in_channels: int) -> nn.Conv2d | None:
    """A convolution beside `conv_in`, zero at the start, for channels which that does not know."""
    extra, kernel = in_channels - config.in_channels, config.conv_in_kernel
    if not extra:
        return None
    convolution = nn.Conv2d(extra, config.block_out_channels[0], kernel, padding=kernel // 2)
    return zero_(convolution)


def _selection(chosen: list[int], in_channels: int, out_channels: int) -> nn.Conv2d:
    """A linear layer over channels that starts as a choice of them."""
    if len(chosen) != out_channels or not all(0 <= c < in_channels for c in chosen):
        raise ValueError(
            f"shortcut {list(chosen)}: give {out_channels} channels of 0 to {in_channels - 1}"
        )
    layer = zero_(nn.Conv2d(in_channels, out_channels, 1, bias=False))
    with torch.no_grad():
        layer.weight[range(out_channels), chosen] = 1.0
    return layer


def _check(config: FrozenDict, in_channels: int) -> None:
    """Refuse 2-D networks whose forward differs from ours."""
    blocks = {*config.down_block_types, config.mid_block_type, *config.up_block_types}
    if unknown := blocks - BLOCKS:
        raise ValueError(f"unet_2d: blocks {sorted(map(str, unknown))}; known are {sorted(BLOCKS)}")
    if used := [name for name in UNSUPPORTED if config[name]]:
        raise ValueError(f"unet_2d: {', '.join(used)} set; Stable Diffusion 1 and 2 have none")
    if not isinstance(config.cross_attention_dim, int):
        raise ValueError(f"unet_2d: cross_attention_dim {config.cross_attention_dim}; must be one")
    if in_channels < config.in_channels:
        raise ValueError(f"in_channels {in_channels}: the 2-D network takes {config.in_channels}")
