"""How predictions with and without the condition become one, at sampling."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from movideo.errors import UserError

DropPrediction = Callable[[Tensor], Tensor]
"""The network at one noisy sample: `drop (n B,)` bool, True where the condition is left out, in;
the prediction `(n B, ...)` out: the same B samples n times over, in one batch."""


class Guidance(ABC):
    """A way to combine predictions with and without the condition."""

    def __str__(self) -> str:
        """Its class and settings: what samples depend on."""
        return " ".join(map(str, (type(self).__name__, *vars(self).values())))

    @abstractmethod
    def __call__(self, predict: DropPrediction, timesteps: Tensor) -> Tensor:
        """Guided prediction `(B, ...)`.

        Args:
            predict: The network at the current noisy sample.
            timesteps: `(B,)`, the current timestep of each sample.
        """


class ClassifierFreeGuidance(Guidance):
    """Classifier-free guidance (Ho & Salimans 2022): away from the unconditional prediction."""

    def __init__(self, scale: float = 1.0, in_turns: bool = False) -> None:
        """Keep the scale.

        Args:
            scale: 1 is the conditional prediction and 0 the unconditional one (both at the cost of
                one evaluation); above 1 follows the condition more closely.
            in_turns: Evaluate the two predictions one after the other instead of as one batch of
                twice the size: slower, in half the memory.

        Raises:
            UserError: The scale is negative or not a number.
        """
        if not scale >= 0:
            raise UserError(f"guidance scale {scale}: it must be 0 or more; 1 is no guidance")
        self.scale = scale
        self.in_turns = in_turns

    def __str__(self) -> str:
        """Its class and scale: what samples depend on."""
        return f"{type(self).__name__} {self.scale}"

    def __call__(self, predict: DropPrediction, timesteps: Tensor) -> Tensor:
        """`unconditional + scale * (conditional - unconditional)`, `(B, ...)`."""
        keep = torch.zeros_like(timesteps, dtype=torch.bool)
        if self.scale == 1:
            return predict(keep)
        if self.scale == 0:
            return predict(~keep)
        if self.in_turns:
            unconditional, conditional = predict(~keep), predict(keep)
        else:
            unconditional, conditional = predict(torch.cat([~keep, keep])).chunk(2)
        return torch.lerp(unconditional, conditional, self.scale)
