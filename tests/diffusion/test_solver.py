"""The solver that models sample with, against a path that is known exactly."""

from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

import movideo
from movideo.diffusion import alpha_bar, sample

WEIGHTS = Path(movideo.__file__).parent / "weights"
SPREAD = 0.3  # of the data, a normal distribution around zero


def error(scheduler: diffusers.SchedulerMixin, steps: int) -> float:
    """Of samples from the exact denoiser: its path ends at the noise times the data's spread."""

    def denoise(noisy: Tensor, timesteps: Tensor) -> Tensor:
        share = alpha_bar(scheduler, timesteps)[:, None]
        variance = share * SPREAD**2 + 1 - share
        return share.sqrt() * SPREAD**2 / variance * noisy  # the mean of the clean given the noisy

    noise = torch.linspace(-2, 2, 9)[:, None]
    found = sample(denoise, scheduler, noise.shape, num_inference_steps=steps, noise=noise)
    return float((found - SPREAD * noise).abs().max())


def test_ten_steps_of_the_embedded_solver_are_as_exact_as_fifty_of_ddim() -> None:
    own = diffusers.DPMSolverMultistepScheduler.from_pretrained(WEIGHTS / "video_scheduler")
    ddim = DDIMScheduler.from_config(own.config, clip_sample=False)
    assert error(own, 10) < error(ddim, 50) < error(ddim, 10)
    assert error(own, 16) < error(ddim, 250) < error(ddim, 50)


@pytest.mark.parametrize("steps", [1, 2, 3, 25, 50, 250, 1000])
def test_every_number_of_steps_ends_where_the_path_does(steps: int) -> None:
    own = diffusers.DPMSolverMultistepScheduler.from_pretrained(WEIGHTS / "video_scheduler")
    # In one step it gives the mean, which is 0. From 16 on what is left is rounding: the network is
    # asked at whole timesteps, the path's places lie between them.
    assert error(own, steps) <= (2 * SPREAD + 1e-4 if steps < 4 else 0.005)
