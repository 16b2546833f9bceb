import diffusers
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from movideo.diffusion import (
    add_noise,
    alpha_bar,
    check_scheduler,
    check_solver,
    has_zero_terminal_snr,
    snr,
)
from movideo.errors import UserError


def test_alpha_bar_is_the_product_of_what_each_step_keeps() -> None:
    scheduler = DDPMScheduler(num_train_timesteps=3, trained_betas=[0.1, 0.2, 0.5])
    levels = alpha_bar(scheduler, torch.tensor([0, 2, 1]))
    # 0.9, 0.9 * 0.8 * 0.5, 0.9 * 0.8; float32 keeps 7 digits
    torch.testing.assert_close(levels, torch.tensor([0.9, 0.36, 0.72]), rtol=1e-6, atol=0)


def test_add_noise_is_the_forward_process_of_diffusers() -> None:
    scheduler = DDPMScheduler(beta_schedule="scaled_linear")
    clean, noise = torch.randn(3, 2, 4, 5, 6), torch.randn(3, 2, 4, 5, 6)
    timesteps = torch.tensor([0, 417, 999])
    noisy = add_noise(clean, noise, alpha_bar(scheduler, timesteps))
    # the same formula in float32, up to the order of rounding
    torch.testing.assert_close(
        noisy, scheduler.add_noise(clean, noise, timesteps), rtol=1e-6, atol=1e-6
    )


def test_snr_is_a_ratio_of_variances() -> None:
    ratios = snr(torch.tensor([0.8, 0.5, 0.0]))
    torch.testing.assert_close(ratios, torch.tensor([4.0, 1.0, 0.0]), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (DDIMScheduler(beta_schedule="scaled_linear"), False),
        (DDIMScheduler(rescale_betas_zero_snr=True), True),  # exactly 0
        (DPMSolverMultistepScheduler(rescale_betas_zero_snr=True), True),  # 2**-24
        (DDIMScheduler(beta_schedule="squaredcos_cap_v2"), True),  # 2.4e-9
    ],
)
def test_zero_terminal_snr_is_seen(scheduler: DDIMScheduler, expected: bool) -> None:
    assert has_zero_terminal_snr(scheduler) is expected


@pytest.mark.parametrize(
    ("scheduler", "complaint"),
    [
        (DDIMScheduler(), "clip_sample=True"),  # diffusers' own default
        (DDIMScheduler(clip_sample=False, thresholding=True), "thresholding=True"),
        (DPMSolverMultistepScheduler(use_flow_sigmas=True), "use_flow_sigmas=True"),
        (FlowMatchEulerDiscreteScheduler(), "no alphas_cumprod"),
        (EulerDiscreteScheduler(prediction_type="original_sample"), "'original_sample'"),
        (
            DDIMScheduler(
                clip_sample=False, rescale_betas_zero_snr=True, timestep_spacing="trailing"
            ),
            "prediction_type='epsilon'",
        ),
        (
            DDIMScheduler(
                clip_sample=False, rescale_betas_zero_snr=True, prediction_type="v_prediction"
            ),
            "timestep_spacing='leading'",
        ),
    ],
)
def test_a_scheduler_that_would_spoil_samples_is_refused(
    scheduler: DDIMScheduler, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        check_scheduler(scheduler)
    assert type(scheduler).__name__ in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_good_scheduler_passes() -> None:
    check_scheduler(DDIMScheduler(clip_sample=False))
    check_scheduler(
        DPMSolverMultistepScheduler(
            rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"
        )
    )


@pytest.mark.parametrize("kind", ["PNDMScheduler", "DEISMultistepScheduler"])
def test_a_solver_that_cannot_step_from_the_clean_sample(kind: str) -> None:
    scheduler = getattr(diffusers, kind)(prediction_type="sample")
    if kind == "PNDMScheduler":
        with pytest.raises(UserError, match="PNDMScheduler: no solver for prediction_type='sam"):
            check_solver(scheduler)
    else:
        check_solver(scheduler)


def test_asking_a_solver_leaves_it_as_it_was() -> None:
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    before = scheduler.timesteps.clone()
    check_solver(scheduler)
    assert torch.equal(scheduler.timesteps, before)
