"""A solver on a noisier schedule: for what is smooth, and drowns too late under the usual one."""

from __future__ import annotations

from typing import Any

from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from movideo.errors import UserError


class ShiftedDPMSolver(DPMSolverMultistepScheduler):
    """DPM-Solver++ whose signal-to-noise ratio is divided by the square of `shift` everywhere.

    Depth and flow are smooth and say the same thing many times over: under the schedule of Stable
    Diffusion their lowest frequencies stay above the noise until the last twentieth of the
    timesteps, which alone would decide direction and layout. The shift is that of flow matching's
    `t' = s t / (1 + (s - 1) t)` (Esser et al. 2024), put into the noise levels, so that training
    and sampling share it.

    Args:
        shift: s; 1 changes nothing. Applied after `rescale_betas_zero_snr`.
        kwargs: of `diffusers.DPMSolverMultistepScheduler`.

    Raises:
        UserError: the shift is not positive.
    """

    def __init__(self, shift: float = 1.0, **kwargs: Any) -> None:
        if not shift > 0:
            raise UserError(f"noise_scheduler: shift {shift}; give more than 0, 1 for none")
        super().__init__(**kwargs)
        self.register_to_config(shift=shift)
        self.alphas_cumprod: Tensor = shifted(self.alphas_cumprod, shift)
        self.alpha_t = self.alphas_cumprod.sqrt()
        self.sigma_t = (1 - self.alphas_cumprod).sqrt()
        self.lambda_t = self.alpha_t.log() - self.sigma_t.log()
        self.sigmas = self.sigma_t / self.alpha_t

    @classmethod
    def _get_init_keys(cls, input_class: type) -> set[str]:
        """Names that `from_config` takes: diffusers reads them off the constructor's signature."""
        keys: set[str] = super()._get_init_keys(DPMSolverMultistepScheduler)
        return keys | {"shift"}


def shifted(alpha_bar: Tensor, shift: float) -> Tensor:
    """Noise levels with `log SNR` lower by `2 log shift`: `a / (a + s² (1 - a))`."""
    return alpha_bar / (alpha_bar + shift**2 * (1 - alpha_bar))
