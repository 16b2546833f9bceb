"""Which timesteps training sees how often."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from movideo.diffusion.randomness import SampleRandomness
from movideo.errors import UserError


class TimestepSampling(ABC):
    """A distribution over the timesteps of a schedule."""

    @abstractmethod
    def __call__(
        self, randomness: SampleRandomness, num_train_timesteps: int, device: torch.device | str
    ) -> Tensor:
        """Timesteps `(B,)`, int64, in [0, `num_train_timesteps`).

        Args:
            randomness: of the batch's samples.
            num_train_timesteps: T of the schedule.
            device: where the result lives.
        """


class UniformTimesteps(TimestepSampling):
    """All alike (MoVideo Eq. 5)."""

    def __call__(
        self, randomness: SampleRandomness, num_train_timesteps: int, device: torch.device | str
    ) -> Tensor:
        """See `TimestepSampling`."""
        return randomness.timesteps(num_train_timesteps, device=device)


class LogitNormalTimesteps(TimestepSampling):
    """`t = T sigmoid(n)`, n normally distributed (Esser et al. 2024): more often in the middle.

    It moves no noise level: a schedule that is shifted stays as it is.
    """

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        """Keep the distribution of n.

        Args:
            mean: above 0 for noisier samples.
            deviation: the wider, the more even.

        Raises:
            UserError: the deviation is not positive.
        """
        if not deviation > 0:
            raise UserError(f"timestep_sampling: deviation {deviation}; it must be above 0")
        self.mean = mean
        self.deviation = deviation

    def __call__(
        self, randomness: SampleRandomness, num_train_timesteps: int, device: torch.device | str
    ) -> Tensor:
        """See `TimestepSampling`."""
        normal = randomness.noise((), "timesteps", device)
        share = torch.sigmoid(self.mean + self.deviation * normal)
        return (share * num_train_timesteps).long().clamp(max=num_train_timesteps - 1)
