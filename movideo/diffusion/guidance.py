"""How predictions with and without the condition become one, at sampling."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from movideo.diffusion.schedule import per_sample
from movideo.errors import UserError

DropPrediction = Callable[[Tensor], Tensor]
"""The network at one noisy sample: `drop (n B,)` bool, True where the tokens are left out, in; the
prediction `(n B, ...)` out: the same B samples n times over, in one batch. Of `drop (n B, 2)` the
second column is true where the warped latent is left out."""


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

    def __init__(
        self,
        scale: float = 1.0,
        in_turns: bool = False,
        rescale: float = 0.0,
        interval: tuple[int, int] | None = None,
    ) -> None:
        """Keep the scale.

        Args:
            scale: 1 is the conditional prediction and 0 the unconditional one (both at the cost of
                one evaluation); above 1 follows the condition more closely.
            in_turns: Evaluate the two predictions one after the other instead of as one batch of
                twice the size: slower, in half the memory.
            rescale: How much of the deviation that guidance adds is taken back, 0 to 1, a sample
                at a time (Lin et al. 2024): with zero terminal SNR high scales burn out without.
            interval: First and last timestep at which there is guidance (Kynkäänniemi et al.
                2024), both included; all by default. Outside it a step costs one evaluation.

        Raises:
            UserError: The scale is negative or not a number, the rescaling no share, the interval
                empty.
        """
        if not scale >= 0:
            raise UserError(f"guidance scale {scale}: it must be 0 or more; 1 is no guidance")
        if not 0 <= rescale <= 1:
            raise UserError(f"guidance rescale {rescale}: give a share from 0 to 1")
        if interval is not None and not 0 <= interval[0] <= interval[1]:
            raise UserError(f"guidance interval {interval}: give a first and a last timestep")
        self.scale = scale
        self.in_turns = in_turns
        self.rescale = rescale
        self.interval = interval

    def __str__(self) -> str:
        """Its class and settings: what samples depend on."""
        settings = [str(self.scale)]
        if self.rescale:
            settings.append(f"rescale {self.rescale}")
        if self.interval is not None:
            settings.append(f"timesteps {self.interval[0]} to {self.interval[1]}")
        return " ".join([type(self).__name__, *settings])

    def __call__(self, predict: DropPrediction, timesteps: Tensor) -> Tensor:
        """`unconditional + scale * (conditional - unconditional)`, `(B, ...)`."""
        keep = torch.zeros_like(timesteps, dtype=torch.bool)
        guided_now = self._is_guided(timesteps)
        if self.scale == 1 or not guided_now.any():
            return predict(keep)
        if self.scale == 0:
            return predict(~keep)
        if self.in_turns:
            unconditional, conditional = predict(~keep), predict(keep)
        else:
            unconditional, conditional = predict(torch.cat([~keep, keep])).chunk(2)
        guided = torch.lerp(unconditional, conditional, self.scale)
        if self.rescale:
            excess = _deviation(conditional) / _deviation(guided) - 1
            guided = guided * (1 + self.rescale * excess)
        return torch.where(per_sample(guided_now, guided), guided, conditional)

    def _is_guided(self, timesteps: Tensor) -> Tensor:
        if self.interval is None:
            return torch.ones_like(timesteps, dtype=torch.bool)
        first, last = self.interval
        return (timesteps >= first) & (timesteps <= last)


class TwoConditionGuidance(Guidance):
    """Guidance on tokens and on the warped latent, each by a scale of its own, in stage 2.

    Training leaves out either, and so sampling can tell what each adds (Brooks et al. 2023): from
    no condition to the motion, from the motion to motion and picture. Costs three evaluations.
    """

    def __init__(self, scale: float = 1.0, motion_scale: float = 1.0) -> None:
        """Keep the scales.

        Args:
            scale: Of the tokens; 1 is no guidance.
            motion_scale: Of the warped latent; likewise.

        Raises:
            UserError: One of them is negative or not a number.
        """
        if not (scale >= 0 and motion_scale >= 0):
            raise UserError(
                f"guidance scales {scale}, {motion_scale}: they must be 0 or more; 1 is no guidance"
            )
        self.scale = scale
        self.motion_scale = motion_scale

    def __call__(self, predict: DropPrediction, timesteps: Tensor) -> Tensor:
        """`none + motion_scale * (motion - none) + scale * (both - motion)`, `(B, ...)`."""
        drops = torch.tensor([[True, True], [True, False], [False, False]], device=timesteps.device)
        none, motion, both = predict(drops.repeat_interleave(len(timesteps), dim=0)).chunk(3)
        return none + self.motion_scale * (motion - none) + self.scale * (both - motion)


def _deviation(prediction: Tensor) -> Tensor:
    """Standard deviation of each sample `(B, ...)`, shaped to divide by."""
    deviation: Tensor = prediction.flatten(1).std(dim=1).clamp(min=1e-12)
    return per_sample(deviation, prediction)
