"""Noise that belongs to a clip, not to the batch it happens to be in."""

import hashlib

import torch


def sample_generator(seed: int, name: str) -> torch.Generator:
    """A generator on the CPU that depends on the seed and the clip's name alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
