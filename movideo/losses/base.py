"""What every term of the video decoder's loss has in common."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from movideo.errors import UserError

Result = TypeVar("Result")


class VideoLoss(nn.Module, ABC):
    """One term of the decoder's loss (MoVideo Eq. 18); knows its weight but does not apply it.

    Args:
        weight: factor lambda of the term in the sum, at least 0.
        start_step: the optimiser step from which the term counts, at least 0.

    Raises:
        UserError: a negative or infinite weight, or a negative step.
    """

    def __init__(self, weight: float = 1.0, start_step: int = 0) -> None:
        super().__init__()
        if not 0 <= weight < math.inf:
            raise UserError(
                f"weight: {weight} for {type(self).__name__}; give a finite number of at least 0"
            )
        if start_step < 0:
            raise UserError(
                f"start_step: {start_step} for {type(self).__name__}; give a step of at least 0"
            )
        self.weight = weight
        self.start_step = start_step

    @property
    @abstractmethod
    def curve(self) -> str:
        """The name of the term's curve in the log."""

    @abstractmethod
    def forward(self, decoded: Tensor, truth: Tensor) -> Tensor:
        """Compute the term in float32, whatever the precision around it.

        Args:
            decoded: the decoder's video, `(B, F, 3, H, W)`, [-1, 1] up to overshoot.
            truth: the video it should be, `(B, F, 3, H, W)` in [-1, 1].

        Returns:
            The term without its weight, a scalar.
        """

    def active(self, step: int) -> bool:
        """Whether the term counts at an optimiser step."""
        return self.weight > 0 and step >= self.start_step


def in_float32(
    compare: Callable[[Any, Tensor, Tensor], Result],
) -> Callable[[Any, Tensor, Tensor], Result]:
    """Make a method that compares two videos compute in float32, out of autocast's reach."""

    @functools.wraps(compare)
    def wrapped(self: Any, decoded: Tensor, truth: Tensor) -> Result:
        with torch.autocast(decoded.device.type, enabled=False):
            return compare(self, decoded.float(), truth.float())

    return wrapped
