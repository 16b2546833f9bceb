"""The noise schedule of a diffusers scheduler, as the training loss needs it (MoVideo Eq. 1).

Schedulers are diffusers' own; `check_scheduler` refuses the settings that would spoil this method's
samples without a word.
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from movideo.errors import UserError

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")

_LEARNT = (
    "prediction_type",
    "num_train_timesteps",
    "trained_betas",
    "beta_schedule",
    "beta_start",
    "beta_end",
    "rescale_betas_zero_snr",
    "shift",
)
"""Settings of diffusers' schedulers that training depends on."""

_REFUSED = {
    "clip_sample": "it cuts the latents and the rescaled flow off at one",
    "thresholding": "it cuts the latents and the rescaled flow off at a quantile",
    "use_flow_sigmas": "it leaves the variance-preserving schedule that training uses",
}


def prediction_type(scheduler: SchedulerMixin) -> str:
    """What the network predicts: `epsilon`, `v_prediction` or `sample`, from the scheduler."""
    return str(scheduler.config.get("prediction_type"))


def num_train_timesteps(scheduler: SchedulerMixin) -> int:
    """Number of timesteps T of the schedule; timesteps run from 0 to T - 1."""
    return int(scheduler.config["num_train_timesteps"])


def alpha_bar(scheduler: SchedulerMixin, timesteps: Tensor) -> Tensor:
    """Share of the signal's variance that is left at each timestep (MoVideo Eq. 1).

    Args:
        scheduler: Any scheduler with `alphas_cumprod`.
        timesteps: Whole numbers in [0, T), any shape.

    Returns:
        float32 in [0, 1], the shape and device of `timesteps`.
    """
    return alpha_bars(scheduler).to(timesteps.device, torch.float32)[timesteps.long()]


def add_noise(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Noisy sample `sqrt(a) clean + sqrt(1 - a) noise`: the forward process (MoVideo Eq. 1).

    Args:
        clean: `(B, ...)`.
        noise: `(B, ...)`, standard normal.
        alpha_bar: `(B,)` in [0, 1].
    """
    alpha_bar = per_sample(alpha_bar, clean)
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


def snr(alpha_bar: Tensor) -> Tensor:
    """Signal-to-noise ratio `a / (1 - a)`, as a ratio of variances; 0 where nothing is left."""
    return alpha_bar / (1 - alpha_bar)


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """View of `values (B,)` that broadcasts against `like (B, ...)`."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def has_zero_terminal_snr(scheduler: SchedulerMixin) -> bool:
    """Whether the last timestep is noise alone.

    Exactly, or to float32's precision: some schedulers keep 2**-24 to stay clear of a division by
    zero, and `squaredcos_cap_v2` ends below that.
    """
    return bool(alpha_bars(scheduler)[-1] < torch.finfo(torch.float32).eps)


def differing_noise(one: SchedulerMixin, other: SchedulerMixin) -> list[str]:
    """Names of settings by which networks of two schedulers learn other things of other noise.

    Solvers and their spacing of timesteps may differ: they do not matter in training.
    """
    names = [name for name in _LEARNT if one.config.get(name) != other.config.get(name)]
    levels, others = alpha_bars(one), alpha_bars(other)
    # A solver may keep the last level clear of zero.
    same = levels.shape == others.shape and torch.allclose(levels, others, atol=1e-6)
    return [name for name in names if name == "prediction_type" or not same]


def contradicted(scheduler: SchedulerMixin, learnt: Mapping[str, Any]) -> list[str]:
    """Names of settings that are known of pretrained weights, and are others here.

    A rescaled end of the schedule is none: velocity models are adapted to it as a matter of course.

    Args:
        scheduler: to train with.
        learnt: what the weights were trained with, as far as that is known.
    """
    known = ("prediction_type", "num_train_timesteps", "beta_schedule", "beta_start", "beta_end")
    return [n for n in known if n in learnt and scheduler.config.get(n) != learnt[n]]


def check_scheduler(scheduler: SchedulerMixin) -> None:
    """Refuse a scheduler that cannot work here.

    Raises:
        UserError: It has no `alphas_cumprod`; it clips the predicted sample; its prediction type is
            unknown; or it ends in pure noise without what that needs: a network that predicts
            something other than the noise, and a spacing whose first step is there.
    """
    name, config = type(scheduler).__name__, scheduler.config
    alpha_bars(scheduler)
    for flag, harm in _REFUSED.items():
        if config.get(flag, False):
            raise UserError(f"{name}: {flag}=True: {harm}; set {flag}: false")
    if prediction_type(scheduler) not in PREDICTION_TYPES:
        raise UserError(
            f"{name}: prediction_type={prediction_type(scheduler)!r} is unknown; "
            f"set one of {', '.join(PREDICTION_TYPES)}"
        )
    if has_zero_terminal_snr(scheduler):
        _check_zero_terminal_snr(scheduler)


def check_solver(scheduler: SchedulerMixin) -> None:
    """Refuse a scheduler that cannot step back from what the network predicts; takes a step to see.

    Raises:
        UserError: It cannot work here (see `check_scheduler`), or knows no such prediction type.
    """
    check_scheduler(scheduler)
    trial, nothing = copy.deepcopy(scheduler), torch.zeros(1, 1, 1, 1)
    trial.set_timesteps(min(10, num_train_timesteps(scheduler)))
    first = trial.timesteps[0]
    try:
        trial.step(nothing, first, trial.scale_model_input(nothing, first))
    except (NotImplementedError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{type(scheduler).__name__}: no solver for "
            f"prediction_type={prediction_type(scheduler)!r} ({reason}); choose another scheduler, "
            "such as diffusers.DDIMScheduler"
        ) from error


def _check_zero_terminal_snr(scheduler: SchedulerMixin) -> None:
    name, config = type(scheduler).__name__, scheduler.config
    if prediction_type(scheduler) == "epsilon":
        raise UserError(
            f"{name}: prediction_type='epsilon' says nothing about the sample at the last "
            "timestep, which is noise alone; set prediction_type: v_prediction"
        )
    if config.get("timestep_spacing") == "leading":
        raise UserError(
            f"{name}: timestep_spacing='leading' leaves out the last timestep, which is noise "
            "alone; set timestep_spacing: trailing"
        )


def alpha_bars(scheduler: SchedulerMixin) -> Tensor:
    """The noise levels of all timesteps, `(T,)`.

    Raises:
        UserError: it has none.
    """
    try:
        return cast(Tensor, scheduler.alphas_cumprod)
    except AttributeError:
        raise UserError(
            f"{type(scheduler).__name__}: no alphas_cumprod, so it cannot train by Eq. 5; choose a "
            "variance-preserving scheduler such as diffusers.DDIMScheduler"
        ) from None
