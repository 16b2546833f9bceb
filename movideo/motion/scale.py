"""How far things move: what normalisation divided flow by, and Eq. 10 alone can only guess.

The magnitude of motion is divided out before stage 1 sees it (MoVideo Eq. 8, 9). Eq. 10 finds it
again from how far generated *depth* moves, and inherits every bias of that. A prediction from the
key frame and the clip's length in time bounds what it may find.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from typing_extensions import override

from movideo.hub.config_part import ConfigPart
from movideo.models.temporal import zero_
from movideo.shards.labels import ScaleLaw

Generators = torch.Generator | Sequence[torch.Generator] | None


@dataclass(frozen=True)
class ScaleDraw:
    """The scale that the motion of each clip is to have, as `MotionSpace.log_scale` gives it.

    Attributes:
        log_scale: `(B,)`, what stage 1 is told.
        bounds: between which Eq. 10 may refine it, `(B,)` each.
    """

    log_scale: Tensor
    bounds: tuple[Tensor, Tensor]

    def times(self, strength: float) -> ScaleDraw:
        """Of motion that is so many times as far."""
        more = math.log(strength)
        low, high = self.bounds
        return ScaleDraw(self.log_scale + more, (low + more, high + more))


class FlowScale(ConfigPart):
    """Nothing is predicted: Eq. 10 alone, the paper's form.

    Attributes:
        predicts: whether the network of stage 1 is told a scale.
    """

    predicts: bool = False

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self) -> None:
        pass

    def fit_law(self, law: ScaleLaw) -> None:
        """Takes in how far things move in so much time, before training starts."""

    def losses(self, tokens: Tensor, reach: Tensor, log_scale: Tensor) -> Tensor | None:
        """What training minimises, one value a clip `(B,)`; arguments as for `draw`."""
        return None

    def draw(self, tokens: Tensor, reach: Tensor, generator: Generators = None) -> ScaleDraw | None:
        """Draws a scale for each clip.

        Args:
            tokens: of the key frames, `(B, N, D)`.
            reach: `(B,)`, seconds from the key frame to the frame farthest from it.
            generator: on the CPU; one, or one a clip.
        """
        return None


class PredictedFlowScale(ModelMixin, FlowScale):
    """A mixture density of the log scale, given the key frame and the time that passes.

    It starts as the law of time that the training labels obey, and learns by likelihood what a
    picture adds to it. Eq. 10 then decides within two deviations of the component that was drawn,
    with the say of one frame against it.

    Args:
        token_dim: D, of the image encoder.
        width: of its layers.
        components: of the mixture.
    """

    predicts = True

    law: Tensor

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, token_dim: int, width: int = 64, components: int = 4) -> None:
        super().__init__()
        self.of_token = nn.Sequential(
            nn.Linear(token_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        # Means tell what there is, maxima the fastest of it.
        self.head = nn.Sequential(
            nn.Linear(2 * width + 1, width), nn.SiLU(), zero_(nn.Linear(width, 3 * components))
        )
        self.register_buffer("starts", torch.linspace(-1, 1, components), persistent=False)
        self.register_buffer("law", torch.tensor([0.0, 1.0, 1.0]))

    @override
    def fit_law(self, law: ScaleLaw) -> None:
        self.law.copy_(torch.tensor([law.intercept, law.slope, max(law.spread, 0.01)]))

    def distribution(self, tokens: Tensor, reach: Tensor) -> MixtureSameFamily:
        """Of the log scale, `(B,)`; arguments as for `draw`."""
        intercept, slope, spread = self.law
        time = reach.clamp(min=1e-3).log()
        features = self.of_token(tokens)
        pooled = torch.cat([features.mean(1), features.amax(1), time[:, None].to(features)], dim=1)
        logits, means, log_stds = self.head(pooled).float().chunk(3, dim=1)
        expected = (intercept + slope * time)[:, None]
        return MixtureSameFamily(
            Categorical(logits=logits, validate_args=False),
            Normal(
                expected + spread * (means + self.starts),
                spread * log_stds.clamp(-4, 2).exp(),
                validate_args=False,  # it would wait for a GPU in every step
            ),
            validate_args=False,
        )

    @override
    def losses(self, tokens: Tensor, reach: Tensor, log_scale: Tensor) -> Tensor:
        likelihood: Tensor = self.distribution(tokens.detach(), reach).log_prob(log_scale)
        return -likelihood

    @override
    @torch.no_grad()
    def draw(self, tokens: Tensor, reach: Tensor, generator: Generators = None) -> ScaleDraw:
        mixture = self.distribution(tokens, reach)
        count = len(reach)
        each: Any = [generator] * count if not isinstance(generator, Sequence) else generator
        uniform = torch.stack([torch.rand((), generator=g) for g in each]).to(reach.device)
        normal = torch.stack([torch.randn((), generator=g) for g in each]).to(reach.device)
        shares = mixture.mixture_distribution.probs.cumsum(dim=1)
        chosen = (uniform[:, None] > shares[:, :-1]).sum(dim=1)
        parts: Any = mixture.component_distribution
        clips = torch.arange(count, device=reach.device)
        mean, std = parts.loc[clips, chosen], parts.scale[clips, chosen]
        return ScaleDraw(mean + std * normal, (mean - 2 * std, mean + 2 * std))
