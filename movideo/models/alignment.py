"""Alignment of the key frame's features to every frame along the flow (MoVideo Fig. 4)."""

from math import gcd

import torch
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn

from movideo.models.temporal import zero_
from movideo.ops import deform_conv, warp

KERNEL = 3
TAPS = KERNEL**2


class ResidualBlock(ResnetBlock2D):
    """diffusers' residual block without a timestep, narrow inside; at the start its shortcut alone.

    Args:
        in_channels: width of the input.
        hidden: width between its two convolutions.
        out_channels: width of the output.
        groups: groups of the norms, at most.
    """

    def __init__(self, in_channels: int, hidden: int, out_channels: int, groups: int) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=hidden,
            conv_2d_out_channels=out_channels,
            temb_channels=None,
            groups=gcd(groups, in_channels),
            groups_out=gcd(groups, hidden),
        )
        zero_(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C_in, H, W)` to `(N, C_out, H, W)`."""
        refined: Tensor = super().forward(x, None)
        return refined


class FlowAlignment(nn.Module):
    """Brings the key frame's feature to each frame and refines the frame with it (Eq. 14 to 17).

    At the start `align` warps and nothing more, and the block is an identity.

    Args:
        channels: width C, kept. Offsets and refinement are half as wide inside: the blocks stand at
            every level, and at full width would cost more than the decoder itself.
        groups: groups of the norms, at most.
        max_residual: pixels of this level by which a tap may leave the flow, along each axis; None
            for any. Without a bound one bad step throws taps out of the picture, where no gradient
            brings them back.
    """

    def __init__(self, channels: int, groups: int = 32, max_residual: float | None = None) -> None:
        super().__init__()
        self.max_residual = max_residual
        hidden = channels // 2
        self.estimate = nn.Sequential(
            nn.Conv2d(2 * channels + 2, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.SiLU(),
            zero_(nn.Conv2d(hidden, 3 * TAPS, 3, padding=1)),
        )
        self.weight = nn.Parameter(nn.init.dirac_(torch.empty(channels, channels, KERNEL, KERNEL)))
        joined = ResidualBlock(2 * channels, hidden, channels, groups)
        # What there is to learn first is how much of the aligned feature to take: at the start the
        # last layer, which is zero, is offered the difference between the two.
        joined.conv_shortcut.weight.data.copy_(_difference(channels))
        joined.conv_shortcut.bias.data.zero_()
        self.refine = nn.Sequential(
            joined,
            ResidualBlock(channels, hidden, channels, groups),
            zero_(nn.Conv2d(channels, channels, 1)),
        )

    def align(self, x: Tensor, key: Tensor, flow_i2v: Tensor) -> Tensor:
        """The key frame's feature, as each frame should see it (Eq. 14 to 16).

        Args:
            x: features of all frames, `(B, F, C, H, W)`.
            key: feature of the key frame, `(B, C, H, W)`.
            flow_i2v: `(B, F, 2, H, W)`, pixels of this level, into the key frame.

        Returns:
            `(B, F, C, H, W)`.
        """
        flow = flow_i2v.to(x.dtype)
        seen = torch.cat([flow, warp(key[:, None], flow_i2v), x], dim=2)  # Eq. 14
        offset, mask = _per_frame(self.estimate, seen).split((2 * TAPS, TAPS), dim=2)  # Eq. 15
        residual = rearrange(offset, "b f (t d) h w -> b f t d h w", d=2).float()
        if self.max_residual is not None:
            residual = self.max_residual * torch.tanh(residual / self.max_residual)
        taps = flow_i2v[:, :, None] + residual
        return deform_conv(key, taps, 2 * mask.sigmoid(), self.weight)  # Eq. 16

    def forward(self, x: Tensor, key: Tensor, flow_i2v: Tensor) -> Tensor:
        """Refines every frame's feature `(B, F, C, H, W)` with the aligned one (Eq. 17).

        Arguments as for `align`.
        """
        aligned = self.align(x, key, flow_i2v)
        return x + _per_frame(self.refine, torch.cat([aligned, x], dim=2))


def _per_frame(network: nn.Module, x: Tensor) -> Tensor:
    frames: Tensor = network(x.flatten(0, 1))
    clips: Tensor = frames.unflatten(0, x.shape[:2])
    return clips


def _difference(channels: int) -> Tensor:
    """Weight of the 1x1 convolution that takes the second half of its channels from the first."""
    identity = torch.eye(channels)[:, :, None, None]
    return torch.cat([identity, -identity], dim=1)
