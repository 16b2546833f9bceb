"""A denoising network with its conditions bound: what the loss and the sampler call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from movideo.diffusion.guidance import Guidance
from movideo.diffusion.loss import Prediction
from movideo.diffusion.sampling import sample


@dataclass(frozen=True)
class Denoiser:
    """One batch of clips to denoise.

    Attributes:
        unet: the network, called as `SpatioTemporalUNet`.
        tokens: `(B, N, D)`, of the key frames.
        fps: `(B,)`.
        key_index: `(B,)`.
        condition: `(B, F, C', h, w)`, concatenated to the noisy sample, or None.
    """

    unet: Callable[..., Tensor]
    tokens: Tensor
    fps: Tensor
    key_index: Tensor
    condition: Tensor | None

    def bind(self, dropped: Tensor | None) -> Prediction:
        """The prediction, without tokens for the clips where `dropped (n B,)` is true.

        With n above 1, of the same clips n times over, `(n B, ...)`.
        """

        def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
            channels = (
                noisy
                if self.condition is None
                else torch.cat([noisy, self.condition.to(noisy)], dim=2)
            )
            inputs: tuple[Tensor, ...]
            inputs = (channels, timesteps, self.tokens, self.fps, self.key_index)
            times = 1 if dropped is None else len(dropped) // len(noisy)
            if times > 1:
                inputs = tuple(torch.cat([value] * times) for value in inputs)
            return self.unet(*inputs, drop_tokens=dropped)

        return predict

    def sample(
        self,
        scheduler: SchedulerMixin,
        shape: Sequence[int],
        guidance: Guidance,
        **options: Any,
    ) -> Tensor:
        """Draws samples `(B, F, C, h, w)`; options as for `movideo.diffusion.sample`."""

        def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
            return guidance(lambda dropped: self.bind(dropped)(noisy, timesteps), timesteps)

        # Under autocast the network takes anything, and what comes after need not be as coarse.
        device = self.tokens.device
        is_cast = torch.is_autocast_enabled(device.type)
        dtype = torch.float32 if is_cast else self.tokens.dtype
        return sample(predict, scheduler, shape, device=device, dtype=dtype, **options)
