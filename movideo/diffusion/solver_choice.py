"""Another solver than the one that a network was trained with, on the same noise."""

from __future__ import annotations

from inspect import signature

import diffusers
import torch
from diffusers import SchedulerMixin

from movideo.diffusion.schedule import alpha_bars, check_solver, prediction_type
from movideo.errors import UserError


def solver_named(name: str, scheduler: SchedulerMixin) -> SchedulerMixin:
    """A scheduler of diffusers that samples what a network learnt under another.

    Args:
        name: its class in diffusers, such as `DDIMScheduler`.
        scheduler: that of the network; noise levels, prediction type and spacing stay its own.

    Raises:
        UserError: there is none of that name, it knows no such prediction, or it cannot be on the
            same noise levels.
    """
    kind = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        raise UserError(
            f"scheduler {name}: not a scheduler of diffusers; give one such as DDIMScheduler, "
            "DPMSolverMultistepScheduler or UniPCMultistepScheduler"
        )
    settings = {**scheduler.config, "clip_sample": False}
    levels = alpha_bars(scheduler).double()
    if settings.pop("shift", 1.0) != 1:  # which others do not know: the levels themselves say it
        betas = 1 - levels / torch.cat([levels.new_ones(1), levels[:-1]])
        settings["trained_betas"] = betas.tolist()
    known = signature(kind).parameters
    made: SchedulerMixin = kind(**{k: v for k, v in settings.items() if k in known})
    check_solver(made)
    # Products of many ratios in float32 are good to a few 1e-5.
    same = alpha_bars(made).shape == levels.shape and torch.allclose(
        alpha_bars(made).double(), levels, atol=1e-4
    )
    if not same or prediction_type(made) != prediction_type(scheduler):
        raise UserError(
            f"scheduler {name}: its noise levels would not be those that the network was trained "
            f"with under {type(scheduler).__name__}; give another"
        )
    return made
