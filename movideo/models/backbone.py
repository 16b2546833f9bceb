"""What stages 1 and 2 train and the pipeline samples with, whatever its architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from diffusers import ConfigMixin, ModelMixin
from torch import Tensor, nn


class Backbone(ModelMixin, ConfigMixin):
    """A network that denoises clips: `SpatioTemporalUNet`, a transformer, yours.

    A subclass defines `forward` and decorates its constructor with diffusers' `register_to_config`,
    so that its arguments are saved with it. It then trains, resumes, exports and generates as ours
    does. To save memory it may set `_supports_gradient_checkpointing` and, where
    `self.gradient_checkpointing` is true, run its blocks through
    `self._gradient_checkpointing_func(block, *inputs)`, as diffusers' models do.

    Attributes:
        learnt_noise: settings of the scheduler that pretrained weights were trained with, as far as
            their publisher says; training refuses another `noise_scheduler`.
    """

    learnt_noise: Mapping[str, Any] = MappingProxyType({})

    def forward(
        self,
        sample: Tensor,
        timestep: int | Tensor,
        image_tokens: Tensor | None,
        fps: Tensor,
        key_index: int | Tensor | None = None,
        drop_tokens: Tensor | None = None,
        log_scale: Tensor | None = None,
    ) -> Tensor:
        """Predicts noise, velocity or the clean sample, as the noise scheduler says.

        Args:
            sample: `(B, F, C, h, w)`, any F; the condition's channels, if any, are the last of C.
            timestep: diffusion timestep, one for all or `(B,)`.
            image_tokens: `(B, N, D)` tokens of the key frame; None drops all.
            fps: `(B,)`, frames per second of each clip.
            key_index: index of the key frame, one for all or `(B,)`; `F // 2` by default.
            drop_tokens: `(B,)` bool, True where the tokens must not be seen.
            log_scale: `(B,)`, how far things are to move (see `movideo.motion.scale`), NaN where
                that is left open; given to a stage 1 whose scale is predicted, and to no other.

        Returns:
            `(B, F, C_out, h, w)`.
        """
        raise NotImplementedError

    def spatial_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that came pretrained, which stage 2 trains at `spatial_lr_factor`: none."""
        return iter(())

    def new_parameters(self) -> Iterator[nn.Parameter]:
        """All other parameters."""
        pretrained = set(self.spatial_parameters())
        return (parameter for parameter in self.parameters() if parameter not in pretrained)
