"""Drawing samples with a diffusers scheduler."""

import copy
import inspect
from collections.abc import Callable, Sequence
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


@torch.no_grad()
def sample(
    predict: Prediction,
    scheduler: SchedulerMixin,
    shape: Sequence[int],
    *,
    num_inference_steps: int = 50,
    generator: Generators | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: str | None = None,
) -> Tensor:
    """Draw samples: start from noise and follow the scheduler (DDIM with eta 0 by default config).

    The scheduler is copied, so the caller's is left as it was. The state is kept in float32; only
    the network sees `dtype`.

    Args:
        predict: The network with its conditions bound: noisy sample `(B, ...)` in `dtype` and
            timesteps `(B,)` in, prediction out.
        scheduler: Any diffusers scheduler with `alphas_cumprod`.
        shape: `(B, ...)` of the samples.
        num_inference_steps: Steps that the scheduler takes, from 1 to its number of timesteps.
        generator: One on the CPU, or one a sample; the same seed gives the same bytes. All noise is
            drawn on the CPU, so the device does not matter. None draws from PyTorch's global one.
        device: Where the network is.
        dtype: What the network takes and what is returned.
        progress: Words before a progress bar that shows after two seconds; None for no bar.

    Returns:
        Samples of `shape` in `dtype` on `device`.

    Raises:
        UserError: The number of steps is out of range or the scheduler cannot work here.
    """
    solver = _prepared(scheduler, num_inference_steps)
    noise = randn_tensor(tuple(shape), generator, torch.device("cpu"), torch.float32)
    state = noise.to(device) * solver.init_noise_sigma
    options = _step_options(solver.step, generator)
    bar = Progress(solver.timesteps, desc=progress, disable=progress is None, leave=False)
    for timestep in bar:
        noisy = solver.scale_model_input(state, timestep).to(dtype)
        prediction = predict(noisy, timestep.to(device).expand(shape[0])).float()
        state = solver.step(prediction, timestep, state, **options).prev_sample
    return cast(Tensor, state.to(dtype))


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
    return prepared


def _step_options(step: Callable[..., object], generator: Generators | None) -> dict[str, object]:
    accepted = inspect.signature(step).parameters
    options = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in options.items() if name in accepted}
