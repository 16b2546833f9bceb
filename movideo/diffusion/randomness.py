"""Random draws that belong to a sample, not to the process that happens to handle it.

Each sample of each draw has a generator of its own, on the CPU. So what is drawn does not depend on
the device, the rank, the number of workers, gradient accumulation, or what else was drawn before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from movideo.storage.digest import digest


@dataclass(frozen=True)
class SampleRandomness:
    """Named draws for the samples of one batch.

    Draws of different names are independent; the same name gives the same values again.

    Attributes:
        keys: What each sample's draws depend on, one key a sample.
    """

    keys: tuple[str, ...]

    @classmethod
    def of_training(cls, seed: int, step: int, positions: Sequence[int]) -> "SampleRandomness":
        """Draws of a training step.

        Args:
            seed: The run's seed.
            step: Optimiser steps taken before this one.
            positions: Each sample's place in the *global* batch: over all ranks and all accumulated
                batches of the step.
        """
        return cls(tuple(f"train/{seed}/{step}/{int(position)}" for position in positions))

    @classmethod
    def of_samples(cls, seed: int, ids: Sequence[str | int]) -> "SampleRandomness":
        """Draws that stay the same for a sample through all of a run, as validation wants.

        Args:
            seed: The run's seed.
            ids: Each sample's name or number in its data set.
        """
        return cls(tuple(f"sample/{seed}/{sample_id}" for sample_id in ids))

    def noise(
        self, shape: Sequence[int], name: str = "noise", device: torch.device | str = "cpu"
    ) -> Tensor:
        """Standard normal float32 `(B, *shape)`, for samples of `shape`."""
        draws = [torch.randn(tuple(shape), generator=g) for g in self._generators(name)]
        return torch.stack(draws).to(device)

    def timesteps(
        self,
        num_train_timesteps: int,
        name: str = "timesteps",
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Timesteps `(B,)`, int64, uniform in [0, `num_train_timesteps`)."""
        generators = self._generators(name)
        draws = [torch.randint(num_train_timesteps, (), generator=g) for g in generators]
        return torch.stack(draws).to(device)

    def uniform(self, name: str, device: torch.device | str = "cpu") -> Tensor:
        """Float32 `(B,)`, uniform in [0, 1): to compare with a probability."""
        draws = [torch.rand((), generator=g) for g in self._generators(name)]
        return torch.stack(draws).to(device)

    def _generators(self, name: str) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(_hashed_seed(f"{name}/{key}")) for key in self.keys]


def _hashed_seed(text: str) -> int:
    # A hash, since Python's own differs between processes and sums of seeds and steps collide.
    return int.from_bytes(digest(text)[:8], "little")


def sample_generator(seed: int, name: str) -> torch.Generator:
    """A generator on the CPU that depends on the seed and the clip's name alone."""
    number = int.from_bytes(digest(f"{seed}/{name}")[:8], "little", signed=True)
    return torch.Generator().manual_seed(number)
