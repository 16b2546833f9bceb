"""How videos move: steadily, as they were asked to, and as the true clips do."""

from __future__ import annotations

import torch
from torch import Tensor

from movideo.clips.batch import key_frames
from movideo.estimators import DepthEstimator, DISFlow, FlowEstimator, ParallaxDepth
from movideo.metrics import depth_error, end_point_error, warp_error
from movideo.metrics.base import Figure, Protocol
from movideo.metrics.clips import JudgedClips
from movideo.ops import visible_mask


class FlowFigure(Figure):
    """A figure of estimated flow.

    Args:
        flow_estimator: DIS by default, which needs no weights.
    """

    higher_is_better = False

    def __init__(self, flow_estimator: FlowEstimator | None = None) -> None:
        super().__init__()
        self.flow_estimator = flow_estimator or DISFlow()

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {"flow": _described(self.flow_estimator)}

    def flow(self, source: Tensor, target: Tensor) -> Tensor:
        """From frames `(B, F, 3, H, W)` into others, `(B, F, 2, H, W)` in pixels."""
        flow: Tensor = self.flow_estimator(source.flatten(0, 1), target.flatten(0, 1))
        return flow.view(*source.shape[:2], *flow.shape[1:])


class WarpErrorFigure(FlowFigure):
    """Temporal consistency: how far a video departs from its own motion (Lai et al. 2018).

    `warp_error` of each frame against the one before it, along the flow estimated between the two
    in the video itself, where the flow back agrees that both show the point; averaged over pairs.
    A frozen clip has 0, the best.
    """

    name = "warp error"
    frozen_clip_wins = True

    def measure(self, clips: JudgedClips) -> Tensor:
        """See `Figure.measure`; NaN for a single frame."""
        early, late = clips.video[:, :-1], clips.video[:, 1:]
        if early.shape[1] == 0:
            return clips.video.new_full((len(clips.video),), torch.nan)
        back, forth = self.flow(late, early), self.flow(early, late)
        visible = visible_mask(back, forth)
        # each pair as a clip of two frames, of which the first is the key frame
        pairs = torch.stack([early, late], dim=2).flatten(0, 1)
        flows = torch.stack([torch.zeros_like(back), back], dim=2).flatten(0, 1)
        masks = torch.stack([torch.ones_like(visible), visible], dim=2).flatten(0, 1)
        errors = warp_error(pairs, flows, masks, key_index=0)
        return errors.view(early.shape[:2]).nanmean(dim=1)

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {
            "frames": "all pairs of neighbours",
            "along": "the video's own flow, where visible in both; colours in [0, 1]",
        }


class MotionFidelity(FlowFigure):
    """Whether a video moves as it was asked to: end-point error of its own flow, in pixels.

    The flow from each frame into the key frame is estimated in the video and compared with the flow
    that was asked for, where that says the key frame shows the point; the key frame apart.
    """

    name = "motion fidelity"
    unit = "px"
    needs = ("motion",)

    def measure(self, clips: JudgedClips) -> Tensor:
        """See `Figure.measure`."""
        motion = clips.motion
        assert motion is not None
        key = key_frames(clips.video, clips.key_index)[:, None].expand_as(clips.video)
        found = self.flow(clips.video, key)
        counts = visible_mask(motion.flow_i2v, motion.flow_v2i)
        counts[torch.arange(len(counts), device=counts.device), clips.key_index] = 0
        return end_point_error(found, motion.flow_i2v, counts)

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {
            "frames": "all but the key frame",
            "pixels": "where the flow asked for says visible",
        }


class FlowError(FlowFigure):
    """How far the motion that a video was asked to have is from the true clip's, in pixels.

    End-point error of both flows over all frames and pixels, against those estimated in the true
    clip: 0 for a method that is given the latter.
    """

    name = "flow error"
    unit = "px"
    needs = ("motion", "truth", "references")

    def measure(self, clips: JudgedClips) -> Tensor:
        """See `Figure.measure`."""
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

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {"frames": "all, the key frame too", "pixels": "all"}


class DepthErrorFigure(Figure):
    """How far the depth that a video was asked to have is from the true clip's, by `depth_error`.

    Args:
        depth_estimator: of the true clip; parallax by default, which needs no weights.
    """

    name = "depth error"
    needs = ("motion", "truth", "references")
    higher_is_better = False

    def __init__(self, depth_estimator: DepthEstimator | None = None) -> None:
        super().__init__()
        self.depth_estimator = depth_estimator or ParallaxDepth()

    def measure(self, clips: JudgedClips) -> Tensor:
        """See `Figure.measure`; NaN where the true depth is flat."""
        motion, truth, references = clips.motion, clips.truth, clips.references
        assert motion is not None
        assert truth is not None
        assert references is not None
        true_depth = clips.once(
            ("depth", id(self.depth_estimator), references[0]),
            lambda: torch.stack([self.depth_estimator(clip) for clip in truth]),
        )
        return depth_error(motion.depth, true_depth)

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {
            "depth": _described(self.depth_estimator),
            "frames": "all; one scale and shift a clip",
        }


def _described(estimator: FlowEstimator | DepthEstimator) -> str:
    settings = estimator.settings()
    name = str(settings["class_path"]).rpartition(".")[2]
    return f"{name} {settings['init_args']}"
