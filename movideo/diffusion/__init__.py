"""The diffusion process, one file an axis (MoVideo Eq. 1 to 5). Schedulers are diffusers' own."""

from movideo.diffusion.condition_dropping import drop_mask
from movideo.diffusion.denoiser import Denoiser
from movideo.diffusion.guidance import (
    ClassifierFreeGuidance,
    Guidance,
    TwoConditionGuidance,
)
from movideo.diffusion.loss import diffusion_loss
from movideo.diffusion.parameterisation import predicted_clean, prediction_target
from movideo.diffusion.randomness import SampleRandomness, sample_generator
from movideo.diffusion.sampling import sample
from movideo.diffusion.schedule import (
    add_noise,
    alpha_bar,
    check_scheduler,
    check_solver,
    contradicted,
    differing_noise,
    has_zero_terminal_snr,
    num_train_timesteps,
    prediction_type,
    snr,
)
from movideo.diffusion.shifted_solver import ShiftedDPMSolver
from movideo.diffusion.solver_choice import solver_named
from movideo.diffusion.timestep_sampling import (
    LogitNormalTimesteps,
    TimestepSampling,
    UniformTimesteps,
)
from movideo.diffusion.weighting import LossWeighting, MinSNRWeighting, UniformWeighting

__all__ = [
    "ClassifierFreeGuidance",
    "Denoiser",
    "Guidance",
    "LogitNormalTimesteps",
    "LossWeighting",
    "MinSNRWeighting",
    "SampleRandomness",
    "ShiftedDPMSolver",
    "TimestepSampling",
    "TwoConditionGuidance",
    "UniformTimesteps",
    "UniformWeighting",
    "add_noise",
    "alpha_bar",
    "check_scheduler",
    "check_solver",
    "contradicted",
    "differing_noise",
    "diffusion_loss",
    "drop_mask",
    "has_zero_terminal_snr",
    "num_train_timesteps",
    "predicted_clean",
    "prediction_target",
    "prediction_type",
    "sample",
    "sample_generator",
    "snr",
    "solver_named",
]
