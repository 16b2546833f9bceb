"""What stage 1 sees of the key frame beside its tokens: where things are, and where they head."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub import EMBEDDED
from movideo.hub.needs import DIFFUSERS_FILES, WeightSpec
from movideo.hub.pretrained import (
    check_weight_folder,
    embedded_folder,
    from_pretrained_strictly,
    read_config,
)
from movideo.hub.weight_files import LOADING_ERRORS, first_line
from movideo.models.image_encoder import sinusoidal_positions
from movideo.motion.key_frame import KeyFrameOnGrid, resized_picture

VELOCITY_UNIT = 0.1  # of the frame's side, a second: what brings velocities near one
SLOW = 0.25  # in the velocity's unit: what is slower comes out smaller than 1, for it may be noise


class KeyFrameMotion(ModelMixin, KeyFrameOnGrid):
    """The key frame on the motion grid, and the mean motion that its tokens foretell.

    A linear layer reads depth and velocity off the token of each patch, cell by cell: resizing
    tokens to the grid would blur what lies within a patch. The velocity is also carried to each
    frame's time and brought to the length that stage 1 diffuses in, so that the network corrects
    and draws a motion instead of inventing one. `MotionRegression` trains the layer beside the
    image encoder; stage 1 trains it on.

    Args:
        token_dim: D, of the image encoder.
        cells: of a patch along each side, each with a depth and a velocity of its own.
        anywhere: see `KeyFrameCondition`.
        pretrained: where the layer's weights come from: a folder that `movideo export` wrote of a
            `MotionRegression`, `embedded`, or null for random ones.

    Raises:
        UserError: `pretrained` has no such weights.
    """

    weight_spec = WeightSpec(files=DIFFUSERS_FILES, embedded="key_frame")

    ignore_for_config: ClassVar = ["pretrained"]
    maps = 3  # depth, velocity to the right, velocity down

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        token_dim: int,
        cells: int = 4,
        anywhere: bool = False,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        self.anywhere = anywhere
        self.needs_picture = True
        self.token_dim = token_dim
        self.cells = cells
        self.channels = 3 + self.maps + 2
        self.head = nn.Linear(token_dim, self.maps * cells**2)
        if pretrained is not None:
            self._take(embedded_folder("key_frame") if pretrained == EMBEDDED else Path(pretrained))

    def _take(self, folder: Path) -> None:
        check_weight_folder(folder)
        read_config(folder)  # of a folder that is not there diffusers would ask a hub
        try:
            learnt = from_pretrained_strictly(KeyFrameMotion, str(folder))
            self.head.load_state_dict(learnt.head.state_dict())
        except LOADING_ERRORS as error:
            raise UserError(
                f"{folder}: no KeyFrameMotion of token_dim {self.token_dim} and cells {self.cells} "
                f"({first_line(error)}); name the folder that holds one, or null"
            ) from error

    @override
    def trained(self, anywhere: bool) -> KeyFrameMotion:
        self.register_to_config(anywhere=anywhere)
        self.anywhere = anywhere
        return self

    def foretell(self, tokens: Tensor) -> Tensor:
        """Depth and velocity `(B, 3, r cells, r cells)`, on the grid of the patches' cells.

        Depth is in [-1, 1], near is large; velocity to the right and down, in tenths of the frame's
        side a second. Where a picture leaves motion open this is the mean of what may happen.

        Args:
            tokens: of the key frames, `(B, 1 + r r, D)`, as `ImageEncoder` gives them.
        """
        patches = self._patches(tokens)
        side, (dim, like) = patches.shape[-1], (self.token_dim, self.head.weight)
        places = sinusoidal_positions(side, side, dim).to(like).T.unflatten(1, (side, side))
        read: Tensor = self.head((patches.to(like) - places).movedim(1, -1)).movedim(-1, 1)
        return F.pixel_shuffle(read, self.cells)

    @override
    def __call__(
        self,
        image: Tensor | None,
        tokens: Tensor,
        key_index: Tensor,
        num_frames: int,
        grid: tuple[int, int],
    ) -> Tensor:
        assert image is not None
        foretold = resized_picture(self.foretell(tokens), grid)
        still = torch.cat([resized_picture(image, grid), foretold], dim=1)
        carried = self._carried(foretold[:, 1:], key_index, num_frames)
        return torch.cat([still[:, None].expand(-1, num_frames, -1, -1, -1), carried], dim=2)

    def _carried(self, velocity: Tensor, key_index: Tensor, num_frames: int) -> Tensor:
        """Flow from the key frame to every frame, `(B, F, 2, h, w)`, its longest near 1."""
        height, width = velocity.shape[-2:]
        sides = torch.tensor([width, height], device=velocity.device)[:, None, None]
        flow = velocity * (sides / max(height, width))
        longest = flow.norm(dim=1).amax(dim=(1, 2))
        time = torch.arange(num_frames, device=flow.device) - key_index[:, None]
        time = time / time.abs().amax(dim=1, keepdim=True).clamp(min=1)
        flow = flow / torch.hypot(longest, torch.full_like(longest, SLOW))[:, None, None, None]
        return time[:, :, None, None, None] * flow[:, None]
