"""The layers that let the frames of a clip influence one another (MoVideo Fig. 2).

All take and give `(B * F, C, H, W)`, the layout in which 2-D layers see a clip. The temporal ones
start as exact identities: put into a pretrained 2-D network they change nothing until trained.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.embeddings import get_timestep_embedding
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from movideo.models.cpu import laid_out

# Distances between frames are tens, not thousands: a period of 10000, usual for timesteps, would
# leave most channels of the encoding constant.
LONGEST_PERIOD = 100
SHORT_SEQUENCE = 64

Layer = TypeVar("Layer", bound=nn.Module)


def key_distance(
    batch: int, frames: int, key_index: int | Tensor | None, device: torch.device | None = None
) -> Tensor:
    """Signed distance of every frame to the key frame, in frames.

    Args:
        batch: clips, B.
        frames: frames a clip, F.
        key_index: index k of the key frame, one for all clips or `(B,)`; the centre by default.
        device: where the result lives.

    Returns:
        `f - k` as `(B, F)` float32.
    """
    key = torch.as_tensor(frames // 2 if key_index is None else key_index, device=device)
    return (torch.arange(frames, device=device) - key.reshape(-1, 1)).float().expand(batch, frames)


def zero_(layer: Layer) -> Layer:
    """Set every parameter of a layer to zero, in place, and give it back."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class TemporalConvolution(nn.Module):
    """Two convolutions over frames, kernel 3, around which the input is added back.

    The group norm sees one frame at a time, as those of the 2-D network do.

    Args:
        channels: width C, kept.
        groups: groups of the norm; must divide `channels`.
    """

    def __init__(self, channels: int, groups: int = 32) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        # Frames x places as a picture: kernel (3, 1) runs about twice as fast on CPU as Conv3d.
        self.mix = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, (3, 1), padding=(1, 0)),
            nn.SiLU(),
            zero_(nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))),
        )

    @property
    def reach(self) -> int:
        """How many frames either way it sees."""
        kernels = (layer.kernel_size[0] for layer in self.mix if isinstance(layer, nn.Conv2d))
        return sum(kernel // 2 for kernel in kernels)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Mix neighbouring frames: `(B * F, C, H, W)` to the same."""
        hidden = rearrange(self.norm(x), "(b f) c h w -> b c f (h w)", f=num_frames)
        mixed: Tensor = rearrange(self.mix(hidden), "b c f (h w) -> (b f) c h w", h=x.shape[-2])
        return x + mixed


class TemporalAttention(nn.Module):
    """Self-attention over the frames at each place, then a feed-forward network, both residual.

    Attention alone cannot tell frames apart, so its input gets a sinusoidal encoding of each
    frame's distance to the key frame.

    Args:
        channels: width C, kept.
        head_dim: channels a head; a narrower layer has one head.
    """

    def __init__(self, channels: int, head_dim: int = 32) -> None:
        super().__init__()
        heads = max(1, channels // head_dim)
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = Attention(
            channels, heads=heads, dim_head=channels // heads, processor=SharedTokens()
        )
        self.feed_forward_norm = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels, mult=2, activation_fn="gelu")
        zero_(self.attention.to_out[0])
        zero_(self.feed_forward.net[-1])

    def forward(self, x: Tensor, distance: Tensor) -> Tensor:
        """Let every frame of a place look at all others.

        Args:
            x: `(B * F, C, H, W)`.
            distance: `(B, F)`, each frame's distance to the key frame, from `key_distance`.

        Returns:
            `(B * F, C, H, W)`.
        """
        (batch, frames), (height, width) = distance.shape, x.shape[-2:]
        encoding = get_timestep_embedding(
            distance.flatten(), x.shape[1], downscale_freq_shift=0, max_period=LONGEST_PERIOD
        )
        encoding = encoding.to(x.dtype).view(batch, 1, frames, -1)
        # One copy into the layout attention wants, one back; all between works on places as batch.
        hidden = rearrange(x, "(b f) c h w -> b (h w) f c", f=frames)
        encoded = self.attention_norm(hidden) + encoding
        hidden = hidden + self.attention(encoded.flatten(0, 1)).view_as(hidden)
        hidden = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        out: Tensor = rearrange(hidden, "b (h w) f c -> (b f) c h w", h=height, w=width)
        return laid_out(out)


class SharedTokens(AttnProcessor2_0):
    """Cross-attention from all frames of a clip to one set of tokens.

    Lays the frames of a clip end to end, so that keys and values are computed once a clip and not
    once a frame. Self-attention is untouched, but short sequences on a CPU are multiplied out:
    torch's flash attention takes twice as long over 17 frames.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Attend: `(B * F, H * W, C)` queries, `(B, N, D)` tokens or None for self-attention."""
        queries = hidden_states
        if encoder_hidden_states is not None:
            queries = queries.reshape(len(encoder_hidden_states), -1, queries.shape[-1])
        is_short = queries.device.type == "cpu" and queries.shape[1] <= SHORT_SEQUENCE
        with sdpa_kernel(SDPBackend.MATH) if is_short else nullcontext():
            out: Tensor = super().__call__(attn, queries, encoder_hidden_states, *args, **kwargs)
        return out.view_as(hidden_states)


class SpatioTemporalLayer(NamedTuple):
    """2-D residual block, temporal convolution, 2-D transformer, temporal attention: in this order.

    What gradient checkpointing recomputes in one piece. Owns nothing.
    """

    resnet: Callable[..., Tensor]
    convolution: Callable[..., Tensor]
    transformer: Callable[..., tuple[Tensor]] | None
    attention: Callable[..., Tensor] | None

    def __call__(
        self, x: Tensor, skip: Tensor | None, embedding: Tensor, tokens: Tensor, distance: Tensor
    ) -> Tensor:
        """Run the layer.

        Args:
            x: `(B * F, C, H, W)`.
            skip: `(B * F, C', H, W)` from the way down, joined to `x`, or None.
            embedding: `(B * F, E)`, of timestep and fps.
            tokens: `(B, N, D)`.
            distance: `(B, F)`, to the key frame.

        Returns:
            `(B * F, C_out, H, W)`.
        """
        if skip is not None:
            x = torch.cat((x, skip), dim=1)
        x = self.convolution(self.resnet(x, embedding), distance.shape[1])
        if self.transformer is None or self.attention is None:
            return x
        return self.attention(self.transformer(x, tokens, return_dict=False)[0], distance)
