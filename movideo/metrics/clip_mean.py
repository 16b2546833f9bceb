"""A figure a clip, averaged over a data set."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class ClipMean(Metric):
    """Mean of a figure over clips; every clip counts the same, whatever its size or visible share.

    A subclass's `update` computes the figures and hands them to `add`. A clip for which the figure
    is not defined (NaN) does not count; with no clip that counts the mean is NaN.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    clips: Tensor

    def __init__(self, **kwargs: Any) -> None:
        """Start from nothing; keyword arguments are torchmetrics' own."""
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")

    def add(self, figures: Tensor) -> None:
        """Count the figures of some clips, `(B,)`."""
        defined = ~figures.isnan()
        self.total += figures[defined].sum()
        self.clips += defined.sum()

    def compute(self) -> Tensor:
        """Mean over the clips so far, a scalar."""
        return self.total / self.clips
