"""Noise that belongs to a clip, not to the batch it happens to be in."""

import hashlib

import torch
from lightning import Trainer

from movideo.diffusion import SampleRandomness


def sample_generator(seed: int, name: str) -> torch.Generator:
    """A generator on the CPU that depends on the seed and the clip's name alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


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
