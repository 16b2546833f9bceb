"""Drawing samples with a diffusers scheduler."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from diffusers import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from movideo.diffusion.loss import Prediction
from movideo.diffusion.schedule import check_scheduler, num_train_timesteps
from movideo.errors import UserError
from movideo.progress import Progress

Generators = torch.Generator | list[torch.Generator]

OnStep = Callable[[int, Tensor, Tensor], Tensor]
"""Number of the step, its timestep and the state `(B, ...)` after it in; the state out."""


@torch.no_grad()
def sample(
    predict: Prediction,
    scheduler: SchedulerMixin,
    shape: Sequence[int],
    *,
    num_inference_steps: int | None = None,
    generator: Generators | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    noise: Tensor | None = None,
    on_step: OnStep | None = None,
    progress: Mapping[str, Any] | None = None,
) -> Tensor:
    """Draw samples: start from noise and follow the scheduler (DDIM with eta 0 by default config).

    The scheduler is copied, so the caller's is left as it was. The state is kept in float32; only
    the network sees `dtype`.

    Args:
        predict: The network with its conditions bound: noisy sample `(B, ...)` in `dtype` and
            timesteps `(B,)` in, prediction out.
        scheduler: Any diffusers scheduler with `alphas_cumprod`.
        shape: `(B, ...)` of the samples.
        num_inference_steps: Steps that the scheduler takes, from 1 to its number of timesteps;
            `default_steps` of it by default.
        generator: One on the CPU, or one a sample; the same seed gives the same bytes. All noise is
            drawn on the CPU, so the device does not matter. None draws from PyTorch's global one.
        device: Where the network is.
        dtype: What the network takes and what is returned.
        noise: What to start from, of `shape` and unit variance; drawn where None.
        on_step: Is shown the state after each step, and gives the one to go on with.
        progress: Options of a bar (see `movideo.progress`); None for no bar.

    Returns:
        Samples of `shape` in `dtype` on `device`.

    Raises:
        UserError: The number of steps is out of range or the scheduler cannot work here.
    """
    steps = default_steps(scheduler) if num_inference_steps is None else num_inference_steps
    solver = _prepared(scheduler, steps)
    if noise is None:
        noise = randn_tensor(tuple(shape), generator, torch.device("cpu"), torch.float32)
    state = noise.to(device, torch.float32) * solver.init_noise_sigma
    options = _step_options(solver.step, generator)
    options_of_bar = {"leave": False, "disable": progress is None, **(progress or {})}
    for index, timestep in enumerate(Progress(solver.timesteps, **options_of_bar)):
        noisy = solver.scale_model_input(state, timestep).to(dtype)
        prediction = predict(noisy, timestep.to(device).expand(shape[0])).float()
        state = solver.step(prediction, timestep, state, **options).prev_sample
        if on_step is not None:
            state = on_step(index, timestep, state)
    return cast(Tensor, state.to(dtype))


def default_steps(scheduler: SchedulerMixin) -> int:
    """Steps that a solver is as exact with as any: 16 of a solver of higher order, 50 of others."""
    order = scheduler.config.get("solver_order") or 1
    return min(16 if order > 1 else 50, num_train_timesteps(scheduler))


def _prepared(scheduler: SchedulerMixin, num_inference_steps: int) -> Any:
    check_scheduler(scheduler)
    limit = num_train_timesteps(scheduler)
    if not 1 <= num_inference_steps <= limit:
        raise UserError(
            f"num_inference_steps={num_inference_steps}: it must be between 1 and {limit}, the "
            f"timesteps of {type(scheduler).__name__}"
        )
    prepared: Any = copy.deepcopy(scheduler)  # set_timesteps and step change it
    # Timesteps stay on the CPU, as the scheduler's tables do: a look-up need not wait for a GPU.
    prepared.set_timesteps(num_inference_steps)
    if hasattr(prepared, "set_begin_index"):
        # Else the first step is looked up by its timestep, which many steps even in log-SNR share.
        prepared.set_begin_index(0)
    return prepared


def _step_options(step: Callable[..., object], generator: Generators | None) -> dict[str, object]:
    accepted = inspect.signature(step).parameters
    options = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in options.items() if name in accepted}
