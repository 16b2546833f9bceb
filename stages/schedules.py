"""Learning-rate schedules that keep the ratios between parameter groups."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """Linear warm-up, then a constant rate or a cosine down to a share of it.

    Args:
        optimizer: its groups' rates are the peak.
        warmup_steps: steps from zero to the peak.
        total_steps: where the cosine ends; None keeps the rate.
        final: share of the peak that is left at the end.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int = 0,
        total_steps: int | None = None,
        final: float = 0.01,
    ) -> None:
        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / (warmup_steps + 1)
            if total_steps is None:
                return 1.0
            progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
            return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

        super().__init__(optimizer, factor)
