"""How different two videos look to a network."""

from collections.abc import Callable

from torch import Tensor

from movideo.metrics.clip_mean import ClipMean


class PerceptualDistance(ClipMean):
    """Mean over clips of a perceptual distance.

    Args:
        distance: maps `(decoded, truth)`, each `(B, F, 3, H, W)` in [-1, 1], to `(B,)`. A module
            becomes a part of the metric and follows it to its device.
    """

    higher_is_better = False

    def __init__(self, distance: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.distance = distance

    def update(self, decoded: Tensor, truth: Tensor) -> None:
        """Count some clips `(B, F, 3, H, W)` in [-1, 1]."""
        self.add(self.distance(decoded, truth))
