"""How much each timestep counts in the training loss."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from movideo.diffusion.schedule import snr
from movideo.errors import UserError


class LossWeighting(ABC):
    """Weight of each sample's squared error, by its noise level."""

    @abstractmethod
    def __call__(self, alpha_bar: Tensor, prediction_type: str) -> Tensor:
        """Weights `(B,)` for `alpha_bar (B,)`; the loss is their product with the squared error."""


class UniformWeighting(LossWeighting):
    """Every timestep counts the same, whatever is predicted (MoVideo Eq. 5)."""

    def __call__(self, alpha_bar: Tensor, prediction_type: str) -> Tensor:
        """Ones `(B,)`."""
        return torch.ones_like(alpha_bar)


class MinSNRWeighting(LossWeighting):
    """Min-SNR (Hang et al. 2023): the clean sample's error, weighted by `min(SNR, gamma)`.

    An error of the noise is an error of the clean sample times the SNR, and one of the velocity is
    that times (SNR + 1), so each has its own form. A schedule that ends at an SNR of 0 needs the
    velocity form; `check_scheduler` refuses `epsilon` there. As published it gives that last
    timestep, where sampling starts, no weight at all: with `count_pure_noise` it is
    `min(SNR + 1, gamma)`, one there.
    """

    def __init__(self, gamma: float = 5.0, count_pure_noise: bool = False) -> None:
        """Keep the bound.

        Args:
            gamma: Largest weight of the clean sample's squared error, a ratio of variances.
            count_pure_noise: Give timesteps without any signal a weight.

        Raises:
            UserError: `gamma` is not positive.
        """
        if not gamma > 0:
            raise UserError(f"gamma={gamma}: the bound on the SNR must be positive; 5 is usual")
        self.gamma = gamma
        self.count_pure_noise = count_pure_noise

    def __call__(self, alpha_bar: Tensor, prediction_type: str) -> Tensor:
        """Weights `(B,)`.

        Raises:
            UserError: The prediction type is unknown.
        """
        counted = 1.0 if self.count_pure_noise else 0.0
        match prediction_type:
            case "epsilon":
                return (self.gamma / snr(alpha_bar)).clamp(max=1 + counted / snr(alpha_bar))
            case "v_prediction":  # min(SNR, gamma) / (SNR + 1) without dividing
                signal = alpha_bar + counted * (1 - alpha_bar)
                return torch.minimum(signal, self.gamma * (1 - alpha_bar))
            case "sample":
                return (snr(alpha_bar) + counted).clamp(max=self.gamma)
        raise UserError(
            f"prediction_type={prediction_type!r} has no min-SNR form; "
            "set epsilon, v_prediction or sample"
        )
