"""The judge of the video decoder: which patches of a video look real."""

import math

from torch import Tensor, nn

from movideo.errors import UserError


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017), over single frames or over space and time.

    With three layers a logit sees 70 pixels a side. The norms see one frame at a time (in 3-D one
    clip), so that no sample's logits depend on the rest of its batch, as they would with pix2pix's
    own batch norm.

    Args:
        dimensions: 2 to judge each frame by itself, 3 to judge the clip and so its motion too.
        width: channels of the first layer; each layer doubles them, up to eightfold.
        layers: how many times the sides are halved; 3-D halves the frames as often, rounded up.

    Raises:
        UserError: other dimensions than 2 and 3, or less than one channel or layer.
    """

    def __init__(self, dimensions: int = 2, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        if dimensions not in (2, 3):
            raise UserError(f"dimensions: {dimensions}; choose 2 to judge frames or 3 for clips")
        if width < 1 or layers < 1:
            raise UserError(f"width {width}, layers {layers}: each must be at least 1")
        self.dimensions = dimensions
        self.layers = layers
        channels = [3, *(width * min(2**depth, 8) for depth in range(layers + 1)), 1]
        strides = [2] * layers + [1, 1]
        blocks: list[nn.Module] = []
        for depth, stride in enumerate(strides):
            blocks.append(self._convolution(channels[depth], channels[depth + 1], stride))
            if 0 < depth <= layers:
                blocks.append(nn.GroupNorm(math.gcd(8, channels[depth + 1]), channels[depth + 1]))
            if depth <= layers:
                blocks.append(nn.LeakyReLU(0.2, inplace=True))
        self.blocks = nn.Sequential(*blocks)

    def _convolution(self, wide_in: int, wide_out: int, stride: int) -> nn.Module:
        layer: nn.Conv2d | nn.Conv3d
        if self.dimensions == 2:
            layer = nn.Conv2d(wide_in, wide_out, 4, stride, padding=1)
        else:  # 3 frames, not 4: a single one is enough, and stays one
            layer = nn.Conv3d(wide_in, wide_out, (3, 4, 4), stride, padding=1)
        nn.init.normal_(layer.weight, std=0.02)  # as pix2pix does
        return layer

    def forward(self, video: Tensor) -> Tensor:
        """Judge the patches of every clip.

        Args:
            video: `(B, F, 3, H, W)` in [-1, 1].

        Returns:
            Logits, high for real: `(B, F, h, w)` in 2-D, `(B, f, h, w)` in 3-D.

        Raises:
            UserError: the frames are too small for so many layers.
        """
        batch, height, width = len(video), video.shape[-2], video.shape[-1]
        if min(height, width) < 3 * 2**self.layers:
            raise UserError(
                f"size {height}x{width}: too small for a discriminator of {self.layers} layers; "
                f"use fewer, or frames of at least {3 * 2**self.layers} pixels a side"
            )
        x = video.flatten(0, 1) if self.dimensions == 2 else video.transpose(1, 2)
        logits: Tensor = self.blocks(x).squeeze(1)
        return logits.unflatten(0, (batch, -1)) if self.dimensions == 2 else logits
