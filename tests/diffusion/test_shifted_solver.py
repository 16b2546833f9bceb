import math

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from benchmarks.motion_noise import band_energy, report, shipped_levels
from movideo.diffusion import ShiftedDPMSolver, alpha_bar, differing_noise
from movideo.errors import UserError
from movideo.hub.checkpoint import build, describe

SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "rescale_betas_zero_snr": True,
    "prediction_type": "sample",
    "timestep_spacing": "trailing",
    "use_lu_lambdas": True,
}


def test_the_shift_by_hand():
    """A level of 0.8 has an SNR of 4; divided by 3 squared that is 4/9, so 4 of 13 are left."""
    plain = DPMSolverMultistepScheduler(**SCHEDULE)
    solver = ShiftedDPMSolver(3.0, **SCHEDULE)
    at = int((plain.alphas_cumprod - 0.8).abs().argmin())
    a = float(plain.alphas_cumprod[at])
    expected = (a / (1 - a) / 9) / (1 + a / (1 - a) / 9)
    assert float(alpha_bar(solver, torch.tensor(at))) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(4 / 13, rel=1e-2)  # no timestep is at 0.8 exactly
    # log SNR - 2 log s at every timestep, which is flow matching's shift of t.
    logs = [torch.logit(s.alphas_cumprod[:-1].double()) for s in (plain, solver)]
    assert torch.allclose(logs[1], logs[0] - 2 * math.log(3), atol=1e-3)
    t = 1 / (1 + logs[0].div(2).exp())  # sigma / (alpha + sigma): flow matching's time
    moved = 1 / (1 + logs[1].div(2).exp())
    assert torch.allclose(moved, 3 * t / (1 + 2 * t), atol=1e-4)


def test_no_shift_is_diffusers_own():
    plain, solver = DPMSolverMultistepScheduler(**SCHEDULE), ShiftedDPMSolver(1.0, **SCHEDULE)
    assert torch.equal(plain.alphas_cumprod, solver.alphas_cumprod)
    for scheduler in (plain, solver):
        scheduler.set_timesteps(16)
    assert torch.equal(plain.timesteps, solver.timesteps)
    assert torch.equal(plain.sigmas, solver.sigmas)
    assert differing_noise(plain, solver) == []


def test_sampling_starts_and_steps_at_the_shifted_levels():
    solver = ShiftedDPMSolver(4.0, **SCHEDULE)
    solver.set_timesteps(16)
    levels = solver.alphas_cumprod[solver.timesteps]
    # Of variance-exploding sigmas, as diffusers keeps them: sqrt((1 - a) / a).
    expected = ((1 - levels) / levels).sqrt()
    # Timesteps are whole numbers, and the first ones are far apart in noise.
    assert torch.allclose(solver.sigmas[3:-1], expected[3:], rtol=0.06)
    assert solver.timesteps[0] == 999


@pytest.mark.parametrize("shift", [1.0, 4.0])
def test_it_samples_a_known_distribution(shift):
    """Of a network that knows the data, one value, every solver's sample is that value."""
    from movideo.diffusion import sample

    solver = ShiftedDPMSolver(shift, **SCHEDULE)
    drawn = sample(
        lambda noisy, timesteps: torch.full_like(noisy, 0.7),
        solver,
        (2, 3),
        generator=torch.Generator().manual_seed(0),
        num_inference_steps=8,
    )
    assert torch.allclose(drawn, torch.full((2, 3), 0.7), atol=1e-4)


def test_a_model_keeps_the_shift():
    solver = build(describe(ShiftedDPMSolver(4.0, **SCHEDULE), frozen=False))
    assert type(solver) is ShiftedDPMSolver
    assert torch.equal(solver.alphas_cumprod, ShiftedDPMSolver(4.0, **SCHEDULE).alphas_cumprod)
    other = ShiftedDPMSolver(2.0, **SCHEDULE)
    assert differing_noise(solver, other) == ["shift"]


def test_a_shift_that_is_none():
    with pytest.raises(UserError, match="shift 0"):
        ShiftedDPMSolver(0.0)


def test_band_energy_of_known_motion():
    """Constant flow has all its energy in the lowest band, noise spreads it over all."""
    frames, side = 4, 8
    target = torch.zeros(2, frames, 5, side, side)
    # Two channels at 1 and two at -1: mean 0, variance 1; each DC coefficient is sqrt(count).
    target[0, :, 1:3], target[0, :, 3:] = 1.0, -1.0
    target[1] = torch.randn(frames, 5, side, side, generator=torch.Generator().manual_seed(0))
    constant, noise = band_energy(target).tolist()
    # Of eight coefficients a channel one is not 0: its square is the number of values.
    assert constant == pytest.approx(frames * side * side / 8, rel=1e-6)
    assert noise == pytest.approx(1, abs=0.5)  # 32 coefficients, each of variance 1


def test_the_report_is_the_definition():
    levels = shipped_levels()
    a = float(levels[800].double())
    shifted = a / (a + 16 * (1 - a))
    row = next(line for line in report(700.0, levels).splitlines() if line.startswith("| 800 |"))
    assert f"| {700 * shifted / (1 - shifted):.3g} | {shifted / (1 - shifted):.3g} |" in row
