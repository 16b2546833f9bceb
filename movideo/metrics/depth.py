"""How far a relative depth is from the true one."""

import torch
from torch import Tensor
from typing_extensions import override

from movideo.estimators import DepthEstimator, ParallaxDepth
from movideo.metrics.base import Description, VideoMetric, describe
from movideo.metrics.clips import MeasuredClips


def fit_scale_and_shift(pred: Tensor, target: Tensor) -> Tensor:
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
    """What `fit_scale_and_shift` leaves, relative to the target's spread.

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
    left = (fit_scale_and_shift(pred, target) - target).flatten(1).square().mean(dim=1)
    return (left / target.flatten(1).var(dim=1, unbiased=False)).sqrt().float()


class DepthError(VideoMetric):
    """How far the depth of a video's motion is from the true clip's, by `depth_error`.

    The true depth is that of the labels, or estimated where clips come without any.

    Args:
        depth_estimator: of true clips without labels; parallax by default, which needs no weights.
    """

    name = "depth error"
    needs = ("motion", "truth", "references")
    higher_is_better = False

    def __init__(self, depth_estimator: DepthEstimator | None = None) -> None:
        super().__init__()
        self.depth_estimator = depth_estimator or ParallaxDepth()

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        motion, truth, references = clips.motion, clips.truth, clips.references
        assert motion is not None
        assert truth is not None
        assert references is not None
        if clips.true_motion is not None:
            return depth_error(motion.depth, clips.true_motion.depth)
        true_depth = clips.once(
            ("depth", id(self.depth_estimator), references[0]),
            lambda: torch.stack([self.depth_estimator(clip) for clip in truth]),
        )
        return depth_error(motion.depth, true_depth)

    @override
    def protocol(self) -> Description:
        return super().protocol() | {
            "depth": describe(self.depth_estimator),
            "frames": "all; one scale and shift a clip",
        }
