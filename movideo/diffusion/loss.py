"""The training loss of a denoising network (MoVideo Eq. 5)."""

from collections.abc import Callable

from diffusers import SchedulerMixin
from torch import Tensor

from movideo.diffusion.parameterisation import prediction_target
from movideo.diffusion.schedule import add_noise, alpha_bar, check_scheduler, prediction_type
from movideo.diffusion.weighting import LossWeighting

Prediction = Callable[[Tensor, Tensor], Tensor]
"""The network with its conditions bound: noisy sample `(B, ...)` and timesteps `(B,)` in, and the
prediction `(B, ...)` out."""


def diffusion_loss(
    predict: Prediction,
    clean: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    scheduler: SchedulerMixin,
    weighting: LossWeighting,
) -> Tensor:
    """Weighted squared error of the prediction, a value a sample (MoVideo Eq. 5).

    Args:
        predict: The network with its conditions bound.
        clean: Samples `(B, ...)`.
        noise: `(B, ...)`, standard normal.
        timesteps: `(B,)`, whole numbers in [0, T).
        scheduler: Gives the noise levels and says what is predicted.
        weighting: How much each noise level counts.

    Returns:
        `(B,)`, float32, not negative; train on its mean.

    Raises:
        UserError: The scheduler cannot work here (see `check_scheduler`).
    """
    check_scheduler(scheduler)
    clean, noise = clean.float(), noise.float()
    level, kind = alpha_bar(scheduler, timesteps), prediction_type(scheduler)
    prediction = predict(add_noise(clean, noise, level), timesteps).float()
    error = (prediction - prediction_target(clean, noise, level, kind)).square()
    return weighting(level, kind) * error.flatten(start_dim=1).mean(dim=1)
