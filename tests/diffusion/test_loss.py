import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from movideo.diffusion import (
    MinSNRWeighting,
    UniformWeighting,
    alpha_bar,
    diffusion_loss,
    prediction_target,
)
from movideo.errors import UserError

SHAPE = (3, 2, 4, 5, 5)
TIMESTEPS = torch.tensor([20, 500, 980])


def scheduler(prediction_type: str = "epsilon") -> DDIMScheduler:
    return DDIMScheduler(clip_sample=False, prediction_type=prediction_type)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_network_has_no_loss_and_an_off_one_its_square(prediction_type: str) -> None:
    clean, noise, process = torch.randn(SHAPE), torch.randn(SHAPE), scheduler(prediction_type)
    target = prediction_target(clean, noise, alpha_bar(process, TIMESTEPS), prediction_type)
    off = torch.tensor([0.0, 1.0, 2.0]).reshape(-1, 1, 1, 1, 1)
    loss = diffusion_loss(
        lambda sample, timesteps: target + off,
        clean, noise, TIMESTEPS, process, UniformWeighting(),
    )  # fmt: skip
    # rounding of a float32 subtraction of values around 3, twice 1e-7 relative
    torch.testing.assert_close(loss, torch.tensor([0.0, 1.0, 4.0]), rtol=1e-6, atol=1e-6)


def test_the_network_sees_the_noisy_sample_of_diffusers_and_the_timesteps() -> None:
    clean, noise, seen = torch.randn(SHAPE), torch.randn(SHAPE), []

    def predict(sample: Tensor, timesteps: Tensor) -> Tensor:
        seen.extend([sample, timesteps])
        return torch.zeros_like(sample)

    diffusion_loss(predict, clean, noise, TIMESTEPS, scheduler(), UniformWeighting())
    expected = scheduler().add_noise(clean, noise, TIMESTEPS)
    torch.testing.assert_close(seen[0], expected, rtol=1e-6, atol=1e-6)  # float32 rounding
    assert torch.equal(seen[1], TIMESTEPS)


def test_weights_multiply_each_sample() -> None:
    clean, noise, process = torch.randn(SHAPE), torch.randn(SHAPE), scheduler("v_prediction")

    def loss(weighting: UniformWeighting | MinSNRWeighting) -> Tensor:
        return diffusion_loss(
            lambda sample, timesteps: sample, clean, noise, TIMESTEPS, process, weighting
        )

    level = alpha_bar(process, TIMESTEPS).double()
    ratio = level / (1 - level)
    weights = (ratio.clamp(max=5) / (ratio + 1)).float()
    # SNR near 1000 at t = 20: 1 - a loses three digits of float32
    torch.testing.assert_close(
        loss(MinSNRWeighting()), weights * loss(UniformWeighting()), rtol=1e-4, atol=0
    )


def test_half_precision_networks_still_give_a_float32_loss() -> None:
    clean, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    loss = diffusion_loss(
        lambda sample, timesteps: torch.zeros(SHAPE, dtype=torch.bfloat16),
        clean.bfloat16(), noise, TIMESTEPS, scheduler(), UniformWeighting(),
    )  # fmt: skip
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, noise.square().mean(dim=(1, 2, 3, 4)), rtol=1e-6, atol=0)


def test_epsilon_with_zero_terminal_snr_is_refused() -> None:
    process = DDIMScheduler(
        clip_sample=False, rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    x = torch.zeros(SHAPE)
    with pytest.raises(UserError, match="set prediction_type: v_prediction"):
        diffusion_loss(lambda s, t: s, x, x, TIMESTEPS, process, MinSNRWeighting())


def test_velocity_loss_at_the_zero_snr_timestep_is_finite() -> None:
    process = DDIMScheduler(
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
    )
    clean, noise, last = torch.randn(SHAPE), torch.randn(SHAPE), torch.full((3,), 999)
    loss = diffusion_loss(
        lambda s, t: torch.zeros_like(s), clean, noise, last, process, UniformWeighting()
    )
    # there the sample is noise alone and the velocity is minus the clean sample
    torch.testing.assert_close(loss, clean.square().mean(dim=(1, 2, 3, 4)), rtol=1e-6, atol=0)
