"""What stage 1 sees of the key frame beside its tokens: where things are."""

from __future__ import annotations

import math
from typing import Self

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub.config_part import ConfigPart


class KeyFrameCondition(ConfigPart):
    """Nothing: cross-attention to its tokens alone, the paper's form.

    From nothing and at a small scale that does not ground motion in the picture. A subclass gives
    channels beside the noisy motion; it is saved with the weights that were trained with it.

    Args:
        anywhere: whether training has seen key frames elsewhere than in the centre; it says so
            itself.

    Attributes:
        channels: that it adds to the network's input.
        needs_picture: whether tokens are not enough.
    """

    channels: int = 0
    needs_picture: bool = False
    anywhere: bool = False

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, anywhere: bool = False) -> None:
        self.anywhere = anywhere

    def trained(self, anywhere: bool) -> Self:
        """The same of a network that has seen key frames elsewhere than in the centre, or not."""
        arguments = {k: v for k, v in self.config.items() if not k.startswith("_")}
        if "anywhere" not in arguments:  # somebody else's, that does not say
            return self
        made: Self = type(self)(**{**arguments, "anywhere": anywhere})
        return made

    def __call__(
        self,
        image: Tensor | None,
        tokens: Tensor,
        key_index: Tensor,
        num_frames: int,
        grid: tuple[int, int],
    ) -> Tensor | None:
        """What is concatenated to the noisy motion, `(B, F, channels, h, w)`, or None.

        Args:
            image: key frames `(B, 3, H, W)`, RGB in [-1, 1]; may be None where none is needed.
            tokens: of the key frames, `(B, N, D)`: the class token, then the patches row by row.
            key_index: `(B,)`.
            num_frames: F.
            grid: `(h, w)`, the motion grid.
        """
        return None


class KeyFrameOnGrid(KeyFrameCondition):
    """The key frame on the motion grid, beside the motion of every frame.

    Args:
        picture: show the picture itself, averaged down.
        token_dim: D, to show the tokens of its patches where the patches are; 0 does not.
        anywhere: see `KeyFrameCondition`.

    Raises:
        UserError: neither is shown.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, picture: bool = True, token_dim: int = 0, anywhere: bool = False) -> None:
        super().__init__(anywhere)
        if not picture and token_dim <= 0:
            raise UserError(f"key_frame: picture {picture}, token_dim {token_dim}; show either")
        self.needs_picture = picture
        self.token_dim = token_dim
        self.channels = 3 * picture + token_dim

    @override
    def __call__(
        self,
        image: Tensor | None,
        tokens: Tensor,
        key_index: Tensor,
        num_frames: int,
        grid: tuple[int, int],
    ) -> Tensor:
        shown = []
        if self.needs_picture:
            assert image is not None
            shown.append(resized_picture(image, grid))
        if self.token_dim:
            shown.append(resized_picture(self._patches(tokens), grid))
        return torch.cat(shown, dim=1)[:, None].expand(-1, num_frames, -1, -1, -1)

    def _patches(self, tokens: Tensor) -> Tensor:
        """Tokens as a picture `(B, D, r, r)`; a class token that comes alone is its only place."""
        patches = tokens[:, 1:] if tokens.shape[1] > 1 else tokens
        count, dim = patches.shape[1:]
        side = math.isqrt(count)
        if dim != self.token_dim or side * side != count:
            raise UserError(
                f"model.key_frame.token_dim: {self.token_dim}, but the image encoder gives {count} "
                f"patches of {dim} channels; give {dim}, and an encoder of square pictures"
            )
        return patches.transpose(1, 2).unflatten(2, (side, side))  # type: ignore[no-any-return]


def resized_picture(picture: Tensor, grid: tuple[int, int]) -> Tensor:
    """A picture `(B, C, H, W)` on a grid, averaged where it gets smaller."""
    # In float32: under autocast tokens are bfloat16, which a CPU does not resize.
    return F.interpolate(
        picture.float(), grid, mode="bilinear", align_corners=False, antialias=True
    )
