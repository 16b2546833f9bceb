"""Noise that belongs to a clip's place in training, not to the process that handles it."""

import torch
from lightning import Trainer

from movideo.diffusion import SampleRandomness, sample_generator


def training_randomness(
    trainer: Trainer, seed: int, count: int, batch_idx: int
) -> SampleRandomness:
    """Draws by each clip's place in the global batch, whatever the ranks and the accumulation.

    Rank r of W holds places r, r + W, r + 2 W of the epoch's order, as `DistributedSampler` deals
    them out.

    Args:
        trainer: knows step, rank and accumulation.
        seed: the run's.
        count: clips in this batch.
        batch_idx: its number in the epoch.
    """
    first = batch_idx % trainer.accumulate_grad_batches * count
    places = [(first + i) * trainer.world_size + trainer.global_rank for i in range(count)]
    return SampleRandomness.of_training(seed, trainer.global_step, places)


def seed_torch(trainer: Trainer, seed: int, batch_idx: int) -> None:
    """Seeds torch's own generators for a batch, so that no checkpoint need hold their state.

    Args:
        trainer: knows step and rank.
        seed: the run's.
        batch_idx: its number in the epoch.
    """
    part = batch_idx % trainer.accumulate_grad_batches
    place = f"torch/{trainer.global_step}/{part}/{trainer.global_rank}"
    torch.manual_seed(sample_generator(seed, place).initial_seed())
