"""Augmentations of labelled clips that keep flow true.

Each takes a sample as it is read, before it is collated, in the types that it is stored in, and
gives a new one. Labels may be missing, and may lie on a smaller grid than the video. Where an
augmentation commutes with encoders, their output may stand in for the video.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from movideo.errors import UserError
from movideo.ops import resize, resize_flow

Sample = dict[str, Any]
"""`video (F, 3, H, W)`, `key_index ()`, and with labels `depth (F, 1, h, w)`,
`depth_alignment (F, 2)`, `flow_i2v` and `flow_v2i (F, 2, h, w)`, pixels of the grid `(h, w)`.
With encodings `latents (F, c, ·, ·)` and `tokens (N, D)` of the key frame, and then often no video.
"""

Size = tuple[int, int]
"""`(height, width)`."""

FLOWS = ("flow_i2v", "flow_v2i")
FIELDS = ("video", "depth", *FLOWS)
PER_FRAME = (*FIELDS, "depth_alignment", "latents")


class Augmentation(ABC):
    """Changes a clip and its labels alike.

    Args:
        probability: of the samples that it changes.

    Attributes:
        commutes: whether encoding the changed clip, frame by frame, is changing the encoded clip.

    Raises:
        UserError: the probability lies outside [0, 1].
    """

    commutes: ClassVar[bool] = False

    def __init__(self, probability: float = 0.5) -> None:
        if not 0 <= probability <= 1:
            raise UserError(f"probability: {probability} for {type(self).__name__}; give 0 to 1")
        self.probability = probability

    def __call__(self, sample: Sample, random: torch.Generator) -> Sample:
        """Changes the sample or leaves it as it is.

        Args:
            sample: see `Sample`; not changed itself.
            random: the only source of randomness.
        """
        chosen = torch.rand((), generator=random) < self.probability
        return self.apply(sample, random) if chosen else sample

    @abstractmethod
    def apply(self, sample: Sample, random: torch.Generator) -> Sample:
        """The changed sample."""


class HorizontalFlip(Augmentation):
    """Mirrors left and right: the fields change places, and dx its sign.

    No encoder has to be symmetric: this does not commute.
    """

    def apply(self, sample: Sample, random: torch.Generator) -> Sample:
        """The mirrored sample."""
        flipped = _mapped(sample, FIELDS, lambda field: field.flip(-1))
        return _mapped(flipped, FLOWS, lambda flow: flow * flow.new_tensor([-1, 1])[:, None, None])


class TemporalReversal(Augmentation):
    """Runs the clip backwards: frame f becomes F - 1 - f, the key frame too.

    Both flows lie between the key frame and a frame, whatever comes first: each goes with its
    frame, and none changes its direction or its sign. Frames change places alone: their latents do
    likewise, and the key frame's tokens stay.
    """

    commutes = True

    def apply(self, sample: Sample, random: torch.Generator) -> Sample:
        """The reversed sample."""
        reversed_ = _mapped(sample, PER_FRAME, lambda field: field.flip(0))
        frames = next(len(sample[name]) for name in PER_FRAME if name in sample)
        return {**reversed_, "key_index": frames - 1 - sample["key_index"]}


class RandomZoom(Augmentation):
    """Enlarges a window of the clip, the same in all frames, to the whole; vectors grow with it.

    The window's edges lie between cells of the labels' grid, so that no label is between pixels. It
    shows details that the encoder has not seen: this does not commute.

    Args:
        largest: the zoom is drawn between 1 and this, evenly in its logarithm.
        probability: as for every `Augmentation`.

    Raises:
        UserError: `largest` is below 1.
    """

    def __init__(self, largest: float = 1.5, probability: float = 0.5) -> None:
        super().__init__(probability)
        if not 1 <= largest < math.inf:
            raise UserError(f"largest: {largest}; a zoom is 1 or more")
        self.largest = largest

    def apply(self, sample: Sample, random: torch.Generator) -> Sample:
        """The enlarged sample.

        Raises:
            UserError: the labels' grid does not divide the video's size.
        """
        size = _size(sample["video"])
        window = self._draw(_grid(sample, size), random)

        def field(change: Callable[[Tensor, Size], Tensor]) -> Callable[[Tensor], Tensor]:
            return lambda x: change(window.cut(x).float(), window.grid).to(x.dtype)

        sample = _mapped(
            sample,
            ("video",),
            lambda video: F.resize(window.cut(video), list(size), antialias=True),
        )
        sample = _mapped(sample, ("depth",), field(resize))
        return _mapped(sample, FLOWS, field(resize_flow))

    def _draw(self, grid: Size, random: torch.Generator) -> _Window:
        zoom = self.largest ** torch.rand((), generator=random).item()
        extent = [max(1, round(cells / zoom)) for cells in grid]
        first = [
            int(torch.randint(cells - wide + 1, (), generator=random))
            for cells, wide in zip(grid, extent, strict=True)
        ]
        return _Window(grid, first, extent)


class _Window(NamedTuple):
    """A part of the frame, in cells of a grid that divides it."""

    grid: Size
    first: Sequence[int]
    extent: Sequence[int]

    def cut(self, field: Tensor) -> Tensor:
        """That part of a field `(…, H, W)` of the grid's size or a multiple of it."""
        rows, columns = (
            slice(start * side // cells, (start + wide) * side // cells)
            for side, cells, start, wide in zip(_size(field), *self, strict=True)
        )
        return field[..., rows, columns]


def _grid(sample: Sample, size: Size) -> Size:
    """The grid of the labels; the video's own where there are none."""
    grid = _size(sample["flow_i2v"]) if "flow_i2v" in sample else size
    if any(side % cells for side, cells in zip(size, grid, strict=True)):
        raise UserError(
            f"{sample.get('name', 'clip')}: labels on a grid of {grid} do not divide the video's "
            f"{size}; leave out RandomZoom or label on another data.labels.grid"
        )
    return grid


def _mapped(sample: Sample, names: tuple[str, ...], change: Callable[[Tensor], Tensor]) -> Sample:
    """The sample with some of its fields changed, those that it has."""
    return {**sample, **{name: change(sample[name]) for name in names if name in sample}}


def _size(field: Tensor) -> Size:
    return field.shape[-2], field.shape[-1]
