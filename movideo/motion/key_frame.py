"""What stage 1 sees of the key frame beside its tokens: where things are."""

from __future__ import annotations

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from typing_extensions import override

from movideo.hub.config_part import ConfigPart


class KeyFrameCondition(ConfigPart):
    """Nothing: cross-attention to its tokens alone, the paper's form.

    From nothing and at a small scale that does not ground motion in the picture. A subclass gives
    channels beside the noisy motion; it is saved with the weights that were trained with it.

    Attributes:
        channels: that it adds to the network's input.
    """

    channels: int = 0

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self) -> None:
        pass

    def __call__(
        self, image: Tensor, key_index: Tensor, num_frames: int, grid: tuple[int, int]
    ) -> Tensor | None:
        """What is concatenated to the noisy motion, `(B, F, channels, h, w)`, or None.

        Args:
            image: key frames `(B, 3, H, W)`, RGB in [-1, 1].
            key_index: `(B,)`.
            num_frames: F.
            grid: `(h, w)`, the motion grid.
        """
        return None


class KeyFrameOnGrid(KeyFrameCondition):
    """The key frame, averaged down to the motion grid, beside the motion of every frame."""

    channels = 3

    @override
    def __call__(
        self, image: Tensor, key_index: Tensor, num_frames: int, grid: tuple[int, int]
    ) -> Tensor:
        small = F.interpolate(image, grid, mode="bilinear", align_corners=False, antialias=True)
        return small[:, None].expand(-1, num_frames, -1, -1, -1)
