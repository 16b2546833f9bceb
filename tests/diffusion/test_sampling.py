import dataclasses
from collections.abc import Callable

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from torch import Tensor

from movideo.diffusion import (
    ClassifierFreeGuidance,
    Denoiser,
    alpha_bar,
    prediction_target,
    sample,
)
from movideo.errors import UserError

SCHEDULERS = [
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
    EulerDiscreteScheduler,
]
SHAPE = (2, 3, 1, 4, 4)


def build(cls: type, kind: str, zero_snr: bool = False) -> DDIMScheduler:
    options = {"clip_sample": False} if cls in (DDIMScheduler, DDPMScheduler) else {}
    if zero_snr:
        options["rescale_betas_zero_snr"] = True
    return cls(
        prediction_type=kind,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        timestep_spacing="trailing",
        **options,
    )


def gaussian(scheduler: DDIMScheduler, mean: Tensor | float, std: float) -> Callable[..., Tensor]:
    """The perfect network for data drawn from a normal distribution; std 0 is a single point."""

    def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
        level = alpha_bar(scheduler, timesteps).double()
        a = level.reshape(-1, *(1,) * (noisy.dim() - 1))
        away = (noisy.double() - a.sqrt() * mean) / (a * std**2 + 1 - a)
        clean, noise = mean + a.sqrt() * std**2 * away, (1 - a).sqrt() * away
        return prediction_target(clean, noise, level, scheduler.config.prediction_type).float()

    return predict


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("kind", "zero_snr"),
    [
        ("epsilon", False),
        ("v_prediction", False),
        ("sample", False),
        ("v_prediction", True),
        ("sample", True),
    ],
)
@pytest.mark.parametrize("cls", SCHEDULERS)
def test_a_perfect_network_brings_back_its_one_sample(cls: type, kind: str, zero_snr: bool) -> None:
    scheduler = build(cls, kind, zero_snr)
    point = 2 * torch.randn(SHAPE, generator=generator(5))  # beyond [-1, 1]: clipping would show
    found = sample(
        gaussian(scheduler, point.double(), 0.0), scheduler, SHAPE,
        num_inference_steps=20, generator=generator(),
    )  # fmt: skip
    # every solver's last step lands on the clean prediction; float32 rounding of values near 5
    torch.testing.assert_close(found, point, rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    ("cls", "kind", "steps", "bias"),
    [
        (DDIMScheduler, "v_prediction", 500, 0.004),
        (DPMSolverMultistepScheduler, "v_prediction", 200, 0.008),
        (DDPMScheduler, "sample", 1000, 0.006),
    ],
)
def test_a_gaussian_comes_back_with_its_mean_and_spread(
    cls: type, kind: str, steps: int, bias: float
) -> None:
    scheduler = build(cls, kind, zero_snr=True)  # so that the start is exactly the noised data
    found = sample(
        gaussian(scheduler, 1.5, 0.5), scheduler, (4, 5000),
        num_inference_steps=steps, generator=generator(),
    )  # fmt: skip
    # Four standard errors of 20,000 draws (0.5 / sqrt(20000) = 0.0035 and 0.0025), and for the
    # spread the solver's own error as well: for DDIM it halves as the steps double (0.016 at 100).
    assert found.mean().item() == pytest.approx(1.5, abs=0.014)
    assert found.std().item() == pytest.approx(0.5, abs=0.010 + bias)


@pytest.mark.parametrize("cls", SCHEDULERS)
def test_same_seed_same_bytes_and_another_seed_another_sample(cls: type) -> None:
    scheduler = build(cls, "epsilon")
    predict = gaussian(scheduler, 0.0, 1.0)

    def draw(seed: int) -> Tensor:
        return sample(predict, scheduler, SHAPE, num_inference_steps=5, generator=generator(seed))

    assert torch.equal(draw(1), draw(1))
    assert (draw(1) - draw(2)).abs().max() > 0.1


def test_a_generator_a_sample_makes_each_independent_of_its_batch() -> None:
    scheduler = build(DDPMScheduler, "epsilon")  # draws noise at every step
    predict = gaussian(scheduler, 0.0, 1.0)
    both = sample(predict, scheduler, SHAPE, num_inference_steps=5,
                  generator=[generator(1), generator(2)])  # fmt: skip
    alone = sample(predict, scheduler, (1, *SHAPE[1:]), num_inference_steps=5,
                   generator=[generator(2)])  # fmt: skip
    assert torch.equal(both[1:], alone)


def test_the_scheduler_is_left_as_it_was() -> None:
    scheduler = build(DPMSolverMultistepScheduler, "epsilon")
    before = scheduler.timesteps.clone()
    sample(gaussian(scheduler, 0.0, 1.0), scheduler, SHAPE, num_inference_steps=5)
    assert torch.equal(scheduler.timesteps, before)
    assert scheduler.step_index is None


def test_the_network_sees_its_dtype_a_timestep_a_sample_and_no_gradient() -> None:
    seen = []

    def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
        seen.append((noisy.dtype, timesteps.tolist(), torch.is_grad_enabled()))
        return noisy

    found = sample(predict, build(DDIMScheduler, "epsilon"), SHAPE,
                   num_inference_steps=4, dtype=torch.bfloat16)  # fmt: skip
    # trailing spacing: 1000 / 4 apart, from the last timestep down
    assert seen == [(torch.bfloat16, [t, t], False) for t in (999, 749, 499, 249)]
    assert found.dtype == torch.bfloat16


def test_the_start_of_sampling_is_scaled_to_the_scheduler() -> None:
    """Euler works with noise of standard deviation sigma; the network still sees unit variance."""
    seen = []

    def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
        seen.append(noisy.std().item())
        return noisy

    scheduler = build(EulerDiscreteScheduler, "epsilon")
    sample(predict, scheduler, (1, 10000), num_inference_steps=1, generator=generator())
    sigma = ((1 - scheduler.alphas_cumprod[-1]) / scheduler.alphas_cumprod[-1]) ** 0.5
    # sigma / sqrt(sigma^2 + 1) times the sample's own spread, known to four standard errors
    assert seen[0] == pytest.approx((sigma / (sigma**2 + 1) ** 0.5).item(), abs=4 / 20000**0.5)


@pytest.mark.parametrize("steps", [0, 1001])
def test_a_number_of_steps_out_of_range_is_named(steps: int) -> None:
    with pytest.raises(UserError, match=f"num_inference_steps={steps}.*1000"):
        sample(lambda x, t: x, build(DDIMScheduler, "epsilon"), SHAPE, num_inference_steps=steps)


def test_a_clipping_scheduler_is_refused() -> None:
    with pytest.raises(UserError, match="clip_sample=True"):
        sample(lambda x, t: x, DDIMScheduler(), SHAPE)


@pytest.mark.parametrize(
    ("scheduler", "steps"),
    [
        (DDIMScheduler(clip_sample=False), 50),
        (DPMSolverMultistepScheduler(), 16),
        (DPMSolverMultistepScheduler(solver_order=1), 50),
        (DDIMScheduler(clip_sample=False, num_train_timesteps=20), 20),
    ],
)
def test_by_default_a_solver_takes_as_many_steps_as_it_needs(
    scheduler: SchedulerMixin, steps: int
) -> None:
    taken = []

    def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
        taken.append(int(timesteps[0]))
        return noisy

    sample(predict, scheduler, (1, 2), generator=torch.Generator().manual_seed(0))
    assert len(taken) == steps


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("solver", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_a_key_frame_that_is_held_comes_out_as_it_is(solver: type, kind: str) -> None:
    """Whatever the network says of it; the other frames are sampled as without."""
    held = torch.tensor([0.7, -1.2]).view(2, 1, 1, 1).expand(2, 1, 2, 2)

    def unet(x: Tensor, *_: Tensor, drop_tokens: Tensor | None) -> Tensor:
        return 0.1 * x

    denoiser = Denoiser(
        unet, torch.zeros(2, 1, 1), torch.ones(2), torch.tensor([0, 2]), None, held=held
    )
    scheduler = build(solver, kind, zero_snr=kind != "epsilon")
    states: list[Tensor] = []
    drawn = [
        each.sample(
            scheduler,
            (2, 3, 1, 2, 2),
            ClassifierFreeGuidance(),
            num_inference_steps=6,
            on_step=lambda index, timestep, state: states.append(state) or state,
            generator=torch.Generator().manual_seed(0),
        )
        for each in (denoiser, dataclasses.replace(denoiser, held=None))
    ]
    assert torch.equal(drawn[0][[0, 1], [0, 2]], held)
    torch.testing.assert_close(drawn[0][[0, 1], [1, 1]], drawn[1][[0, 1], [1, 1]])
    # On the way there too: the last state has what noise the solver leaves, at most 0.03.
    assert (states[5][[0, 1], [0, 2]] - held).abs().max() < 0.1
