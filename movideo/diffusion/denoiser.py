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
from movideo.diffusion.parameterisation import prediction_target
from movideo.diffusion.sampling import sample
from movideo.diffusion.schedule import alpha_bar, per_sample, prediction_type
from movideo.errors import UserError


@dataclass(frozen=True)
class Denoiser:
    """One batch of clips to denoise.

    Attributes:
        unet: the network, called as `SpatioTemporalUNet`.
        tokens: `(B, N, D)`, of the key frames.
        fps: `(B,)`.
        key_index: `(B,)`.
        condition: `(B, F, C', h, w)`, concatenated to the noisy sample, or None.
        weaker: the same without the warped latent, for guidance on it; None where there is none.
        log_scale: `(B,)`, how far things are to move, if the network is told; see `Backbone`.
        held: what the key frame of the result is known to be, `(B, C, h, w)`; None leaves it to the
            network.
    """

    unet: Callable[..., Tensor]
    tokens: Tensor
    fps: Tensor
    key_index: Tensor
    condition: Tensor | None
    weaker: Tensor | None = None
    log_scale: Tensor | None = None
    held: Tensor | None = None

    def bind(self, dropped: Tensor | None) -> Prediction:
        """The prediction, without tokens for the clips where `dropped (n B,)` is true.

        With n above 1, of the same clips n times over, `(n B, ...)`. Of `dropped (n B, 2)` the
        second column is true where the weaker condition takes the place of the condition.

        Raises:
            UserError: there is no weaker one.
        """
        tokens_dropped = dropped if dropped is None or dropped.ndim == 1 else dropped[:, 0]

        def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
            times = 1 if dropped is None else len(dropped) // len(noisy)
            inputs = (noisy, timesteps, self.tokens, self.fps, self.key_index)
            if times > 1:
                inputs = tuple(torch.cat([value] * times) for value in inputs)  # type: ignore[assignment]
            noisy, *rest = inputs
            condition = self._condition(dropped, times)
            if condition is not None:
                noisy = torch.cat([noisy, condition.to(noisy)], dim=2)
            told = {} if self.log_scale is None else {"log_scale": self.log_scale.repeat(times)}
            return self.unet(noisy, *rest, drop_tokens=tokens_dropped, **told)

        return predict

    def _condition(self, dropped: Tensor | None, times: int) -> Tensor | None:
        """What is concatenated, of so many times the clips."""
        if self.condition is None:
            return None
        whole = self.condition if times == 1 else torch.cat([self.condition] * times)
        if dropped is None or dropped.ndim == 1 or not dropped[:, 1].any():
            return whole
        if self.weaker is None:
            raise UserError("guidance: this stage has no warped latent to guide on; leave it to 2")
        return torch.where(
            per_sample(dropped[:, 1], whole), torch.cat([self.weaker] * times), whole
        )

    def _held(
        self, found: Tensor, noisy: Tensor, timesteps: Tensor, scheduler: SchedulerMixin
    ) -> Tensor:
        """The prediction, that of the key frame as one who knows its clean latent would make it."""
        assert self.held is not None
        places = torch.arange(len(noisy), device=noisy.device), self.key_index
        level, clean = alpha_bar(scheduler, timesteps), self.held.float()
        state, spread = noisy[places].float(), per_sample(1 - level, clean)
        noise = (state - per_sample(level, clean).sqrt() * clean) / spread.sqrt()
        known = prediction_target(clean, noise, level, prediction_type(scheduler))
        found = found.clone()
        found[places] = known.to(found)
        return found

    def sample(
        self,
        scheduler: SchedulerMixin,
        shape: Sequence[int],
        guidance: Guidance,
        **options: Any,
    ) -> Tensor:
        """Draws samples `(B, F, C, h, w)`; options as for `movideo.diffusion.sample`."""

        def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
            found = guidance(lambda dropped: self.bind(dropped)(noisy, timesteps), timesteps)
            return found if self.held is None else self._held(found, noisy, timesteps, scheduler)

        # Under autocast the network takes anything, and what comes after need not be as coarse.
        device = self.tokens.device
        is_cast = torch.is_autocast_enabled(device.type)
        dtype = torch.float32 if is_cast else self.tokens.dtype
        drawn = sample(predict, scheduler, shape, device=device, dtype=dtype, **options)
        if self.held is not None:  # solvers may leave a trace of noise
            drawn[torch.arange(len(drawn), device=device), self.key_index] = self.held.to(drawn)
        return drawn
