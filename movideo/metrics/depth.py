"""How far a relative depth is from the true one."""

from torch import Tensor

from movideo.metrics.clip_mean import ClipMean


def align_depth(pred: Tensor, target: Tensor) -> Tensor:
    """`scale * pred + shift` with the least squared error, one scale and shift a clip.

    The scale is 0 at least: near and far must not change places. Computed in float64.

    Args:
        pred: Relative inverse depth `(B, F, 1, H, W)`.
        target: The same, in its own scale.

    Returns:
        Like `pred`, in the scale of `target`, float64; the target's mean where `pred` is flat.
    """
    dims = tuple(range(1, pred.dim()))
    pred, target = pred.double(), target.double()
    shift = target.mean(dims, keepdim=True)
    away = pred - pred.mean(dims, keepdim=True)
    variance = away.square().mean(dims, keepdim=True)
    covariance = (away * (target - shift)).mean(dims, keepdim=True)
    # the smallest normal number: 0 / 0 becomes 0 for a flat prediction
    scale = (covariance / variance.clamp_min(2.3e-308)).clamp_min(0)
    return scale * away + shift


def depth_error(pred: Tensor, target: Tensor) -> Tensor:
    """Scale- and shift-invariant error: what `align_depth` leaves, relative to the target's spread.

    The root of the mean squared difference over all frames and pixels of the clip, divided by the
    standard deviation of the target over them.

    Args:
        pred: Relative inverse depth `(B, F, 1, H, W)`.
        target: The same, in its own scale.

    Returns:
        `(B,)` in [0, 1], float32: 0 is perfect, 1 no better than a constant. NaN where the target
        is flat.
    """
    target = target.double()
    left = (align_depth(pred, target) - target).flatten(1).square().mean(dim=1)
    return (left / target.flatten(1).var(dim=1, unbiased=False)).sqrt().float()


class DepthError(ClipMean):
    """Mean over clips of `depth_error`."""

    higher_is_better = False

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Count some clips; arguments as for `depth_error`."""
        self.add(depth_error(pred, target))
