"""What labels lack and generated motion has: errors, which stages 2 and 3 must have met.

A network that has only ever seen exact motion trusts generated motion too far. So in training some
clips are given motion that is wrong by a drawn amount, and told how far: at inference it is told
how far generated motion is off.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from typing_extensions import override

from movideo.diffusion import SampleRandomness
from movideo.hub.config_part import ConfigPart
from movideo.motion.space import Motion

COARSEST = 8  # places along each side at which an error is drawn: it is smooth in between


class MotionNoise(ConfigPart):
    """None: the network is trained on exact motion and told nothing, as in the paper.

    It is saved with the weights that were trained under it.

    Attributes:
        channels: that it adds to the network's input.
        generated: the level that generated motion is told to have.
    """

    channels: int = 0
    generated: float = 0.0

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self) -> None:
        pass

    def __call__(
        self, motion: Motion, key_index: Tensor, noised: Tensor, randomness: SampleRandomness
    ) -> Motion:
        """Motion with errors, and their level.

        Args:
            motion: of the labels.
            key_index: `(B,)`, where it stays exact: 0.
            noised: `(B,)`, true for the clips that are given any.
            randomness: of the training step.
        """
        return motion


class DrawnMotionNoise(MotionNoise):
    """Smooth errors of a level that is drawn for each clip.

    At level s each flow is off by s times the clip's mean motion, independently, the more the
    farther a frame is from the key frame; both are too long or too short by one log-normal factor
    of deviation s; and depth is off by s of its deviation.

    Args:
        largest: levels are uniform from 0 to this.
        generated: what the network is told of generated motion.
    """

    channels = 1

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, largest: float = 0.5, generated: float = 0.25) -> None:
        self.largest = largest
        self.generated = generated

    @override
    def __call__(
        self, motion: Motion, key_index: Tensor, noised: Tensor, randomness: SampleRandomness
    ) -> Motion:
        device = noised.device
        level = randomness.uniform("motion noise", device) * self.largest * noised
        depth_error, errors_i2v, errors_v2i = (
            self._smooth(motion, channels, name, randomness)
            for name, channels in (("depth", 1), ("flow_i2v", 2), ("flow_v2i", 2))
        )
        moves = torch.cat([motion.flow_i2v, motion.flow_v2i], dim=1)
        size = moves.square().sum(2).mean(dim=(1, 2, 3)).sqrt()
        frames = torch.arange(motion.depth.shape[1], device=device)
        away = (frames - key_index[:, None]).abs().float()
        # Of the mean motion: frames half as far away as the farthest have about that.
        growth = away / away.amax(dim=1, keepdim=True).clamp(min=1) * 2
        drift = (level * size)[:, None] * growth
        factor = (level * randomness.noise((), "motion scale", device)).exp()

        def wrong(flow: Tensor, error: Tensor) -> Tensor:
            return flow * _wide(factor[:, None]) + _wide(drift) * error

        spread = motion.depth.flatten(1).std(dim=1)
        return replace(
            motion,
            depth=motion.depth + _wide((level * spread)[:, None]) * depth_error,
            flow_i2v=wrong(motion.flow_i2v, errors_i2v),
            flow_v2i=wrong(motion.flow_v2i, errors_v2i),
            level=level,
        )

    def _smooth(
        self, motion: Motion, channels: int, name: str, randomness: SampleRandomness
    ) -> Tensor:
        """One field for all frames, `(B, 1, channels, H, W)`, of unit variance at its places."""
        drawn = randomness.noise(
            (channels, COARSEST, COARSEST), f"motion noise of {name}", motion.depth.device
        )
        size = motion.depth.shape[-2:]
        return F.interpolate(drawn, size, mode="bicubic", align_corners=False)[:, None]


def _wide(values: Tensor) -> Tensor:
    """`(B, F)` to go with fields `(B, F, C, H, W)`."""
    return values[:, :, None, None, None]
