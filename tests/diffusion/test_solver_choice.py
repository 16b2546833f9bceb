from pathlib import Path

import pytest
import torch

from movideo.diffusion import ShiftedDPMSolver, sample, solver_named
from movideo.diffusion.schedule import alpha_bars
from movideo.errors import UserError
from movideo.pipeline import MoVideoPipeline
from tests.stages.parts import scheduler

PICTURE = Path(__file__).parents[2] / "docs" / "key_frame.png"
SETTINGS = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
SHIFTED = ShiftedDPMSolver(shift=4.0, use_lu_lambdas=True, **SETTINGS)


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"]
)
@pytest.mark.parametrize("learnt", [SHIFTED, scheduler()])
def test_another_solver_on_the_same_noise_ends_at_the_same_sample(name, learnt):
    other = solver_named(name, learnt)
    assert type(other).__name__ == name
    # a product of a thousand ratios in float32
    assert torch.allclose(alpha_bars(other), alpha_bars(learnt), atol=1e-4)

    def velocity(noisy, timesteps):
        """The exact answer where the data is normal with mean 2 and deviation 0.5."""
        level = alpha_bars(learnt)[timesteps].view(-1, 1, 1)
        signal, noise = level.sqrt(), (1 - level).sqrt()
        variance = level * 0.25 + (1 - level)
        clean = 2 + signal * 0.25 / variance * (noisy - signal * 2)
        guess = noise / variance * (noisy - signal * 2)
        return signal * guess - noise * clean

    noise = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    steps = 1000 if name == "DDIMScheduler" else 400
    drawn = sample(velocity, other, noise.shape, noise=noise, num_inference_steps=steps)
    # The flow of a normal distribution keeps every point at its own number of deviations. All steps
    # of first order, or 400 of higher, leave 5% of a deviation of 0.5, of points up to 2.4 of them
    # out.
    assert torch.allclose(drawn, 2 + 0.5 * noise, atol=0.06)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DDIM", "scheduler DDIM: not a scheduler of diffusers; give one such as"),
        ("UNet2DModel", "not a scheduler"),
        ("FlowMatchEulerDiscreteScheduler", "no alphas_cumprod"),
        ("DDPMWuerstchenScheduler", "no alphas_cumprod"),
    ],
)
def test_what_cannot_be_chosen(name, message):
    with pytest.raises(UserError, match=message):
        solver_named(name, SHIFTED)


def test_the_command_takes_one_for_each_stage(movideo, monkeypatch):
    used = []
    own = MoVideoPipeline.generate

    def listening(self, *arguments, **options):
        used.append((type(self.motion_scheduler).__name__, type(self.video_scheduler).__name__))
        return own(self, *arguments, **options)

    monkeypatch.setattr(MoVideoPipeline, "generate", listening)
    for chosen in ("DDIMScheduler", "[DDIMScheduler, UniPCMultistepScheduler]"):
        done = movideo(
            *("generate", f"--image={PICTURE}", "--steps=1", "--num_frames=3"),
            f"--scheduler={chosen}",
        )
        assert done.code == 0, done.err
    assert used == [("DDIMScheduler",) * 2, ("DDIMScheduler", "UniPCMultistepScheduler")]
    done = movideo("generate", f"--image={PICTURE}", "--scheduler=Nonsense")
    assert done.code == 2
    assert done.err.count("\n") == 1
