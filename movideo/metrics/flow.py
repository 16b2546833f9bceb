"""How far a flow is from the true one."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from movideo.metrics.clip_mean import ClipMean


def end_point_error(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean length of the difference, over the chosen pixels of all frames of each clip.

    Args:
        pred: Flow `(B, F, 2, H, W)` in pixels.
        target: The same.
        mask: `(B, F, 1, H, W)` in [0, 1], how much each pixel counts; None for all alike.

    Returns:
        `(B,)` in pixels; NaN for a clip with an empty mask.
    """
    error: Tensor = torch.linalg.vector_norm(pred.float() - target.float(), dim=2).flatten(1)
    if mask is None:
        return error.mean(dim=1)
    weights = mask.float().flatten(1)
    return (error * weights).sum(dim=1) / weights.sum(dim=1)


def flow_cosine(pred: Tensor, target: Tensor, min_length: float = 0.5) -> Tensor:
    """Mean cosine of the angle between two flows, where the true one moves.

    Args:
        pred: Flow `(B, F, 2, H, W)` in pixels; a vector of length 0 gets a cosine of 0.
        target: The same.
        min_length: Pixels whose true motion is shorter than this, in pixels, do not count: their
            direction means nothing.

    Returns:
        `(B,)` in [-1, 1]; NaN for a clip without motion.
    """
    pred, target = pred.float(), target.float()
    moves: Tensor = torch.linalg.vector_norm(target, dim=2) >= min_length
    cosine: Tensor = cosine_similarity(pred, target, dim=2) * moves
    return cosine.flatten(1).sum(dim=1) / moves.flatten(1).sum(dim=1)


class EndPointError(ClipMean):
    """Mean over clips of `end_point_error`, in pixels."""

    higher_is_better = False

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Count some clips; arguments as for `end_point_error`."""
        self.add(end_point_error(pred, target))


class FlowCosine(ClipMean):
    """Mean over clips of `flow_cosine`."""

    higher_is_better = True

    def __init__(self, min_length: float = 0.5) -> None:
        """Keep the shortest motion that counts, in pixels."""
        super().__init__()
        self.min_length = min_length

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Count some clips; arguments as for `flow_cosine`."""
        self.add(flow_cosine(pred, target, self.min_length))
