"""How far a flow is from the true one."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from typing_extensions import override

from movideo.clips.batch import key_frames, without_key_frames
from movideo.estimators import DISFlow, FlowEstimator
from movideo.metrics.base import Description, VideoMetric, describe
from movideo.metrics.clips import MeasuredClips
from movideo.ops import visible_mask
from movideo.ops.length import vector_length


def end_point_error(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean length of the difference, over the chosen pixels of all frames of each clip.

    Args:
        pred: Flow `(B, F, 2, H, W)` in pixels.
        target: The same.
        mask: `(B, F, 1, H, W)` in [0, 1], how much each pixel counts; None for all alike.

    Returns:
        `(B,)` in pixels; NaN for a clip with an empty mask.
    """
    error: Tensor = vector_length(pred.float() - target.float()).flatten(1)
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
    moves: Tensor = vector_length(target) >= min_length
    cosine: Tensor = cosine_similarity(pred, target, dim=2) * moves
    return cosine.flatten(1).sum(dim=1) / moves.flatten(1).sum(dim=1)


class EndPointError(VideoMetric):
    """How far the motion of a video is from that of the true clip's labels: `end_point_error`.

    Of the flow from each frame into the key frame.
    """

    name = "end point error"
    unit = "px"
    needs = ("motion", "true_motion")
    higher_is_better = False

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        assert clips.motion is not None
        assert clips.true_motion is not None
        return end_point_error(clips.motion.flow_i2v, clips.true_motion.flow_i2v)


class FlowCosine(VideoMetric):
    """Whether the motion of a video points where that of the labels does: `flow_cosine`.

    Args:
        min_length: the shortest true motion that counts, in pixels.
    """

    name = "flow cosine"
    needs = ("motion", "true_motion")
    higher_is_better = True

    def __init__(self, min_length: float = 0.5) -> None:
        super().__init__()
        self.min_length = min_length

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        assert clips.motion is not None
        assert clips.true_motion is not None
        flows = clips.motion.flow_i2v, clips.true_motion.flow_i2v
        return flow_cosine(*flows, self.min_length)


class FlowMetric(VideoMetric):
    """A metric of estimated flow.

    Args:
        flow_estimator: DIS by default, which needs no weights.
    """

    higher_is_better = False

    def __init__(self, flow_estimator: FlowEstimator | None = None) -> None:
        super().__init__()
        self.flow_estimator = flow_estimator or DISFlow()

    @override
    def protocol(self) -> Description:
        return super().protocol() | {"flow": describe(self.flow_estimator)}

    def flow(self, source: Tensor, target: Tensor) -> Tensor:
        """From frames `(B, F, 3, H, W)` into others, `(B, F, 2, H, W)` in pixels."""
        flow: Tensor = self.flow_estimator(source.flatten(0, 1), target.flatten(0, 1))
        return flow.view(*source.shape[:2], *flow.shape[1:])


class MotionFidelity(FlowMetric):
    """Whether a video moves as it was asked to: end-point error of its own flow, in pixels.

    The flow from each frame into the key frame is estimated in the video and compared with the flow
    that was asked for, where that says the key frame shows the point; the key frame apart.
    """

    name = "motion fidelity"
    unit = "px"
    needs = ("motion",)

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        motion = clips.motion
        assert motion is not None
        key = key_frames(clips.video, clips.key_index)[:, None].expand_as(clips.video)
        found = self.flow(clips.video, key)
        visible = visible_mask(motion.flow_i2v, motion.flow_v2i)
        counts = without_key_frames(visible, clips.key_index)
        return end_point_error(found, motion.flow_i2v, counts)

    @override
    def protocol(self) -> Description:
        return super().protocol() | {
            "frames": "all but the key frame",
            "pixels": "where the flow asked for says visible",
        }


class FlowError(FlowMetric):
    """How far the motion that a video was asked to have is from the true clip's, in pixels.

    End-point error of both flows over all frames and pixels, against those estimated in the true
    clip: 0 for a method that is given the latter.
    """

    name = "flow error"
    unit = "px"
    needs = ("motion", "truth", "references")

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        motion, truth, references = clips.motion, clips.truth, clips.references
        assert motion is not None
        assert truth is not None
        assert references is not None

        def estimate() -> Tensor:
            key = key_frames(truth, clips.key_index)[:, None].expand_as(truth)
            return torch.cat([self.flow(truth, key), self.flow(key, truth)], dim=1)

        key = ("flow", id(self.flow_estimator), references[0], int(clips.key_index[0]))
        asked = torch.cat([motion.flow_i2v, motion.flow_v2i], dim=1)
        return end_point_error(asked, clips.once(key, estimate))

    @override
    def protocol(self) -> Description:
        return super().protocol() | {"frames": "all, the key frame too", "pixels": "all"}
