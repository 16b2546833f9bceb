"""How far a video departs from the motion it should follow."""

import torch
from torch import Tensor
from typing_extensions import override

from movideo.metrics.base import Description, VideoMetric
from movideo.metrics.clips import MeasuredClips
from movideo.metrics.flow import FlowMetric
from movideo.ops import visible_mask, warp


def warp_error(
    video: Tensor, flow_i2v: Tensor, visible: Tensor, key_index: int | Tensor | None = None
) -> Tensor:
    """Squared difference between each frame and the key frame warped onto it, where visible.

    `sum over f != k and p of m_f(p) |x_f(p) - W(x_k, o_f)(p)|^2 / sum of m_f(p)`, the square
    averaged over colours scaled to [0, 1], as in Lai et al. 2018; they compare neighbouring
    frames, this compares each with the key frame, whose own perfect match does not count.

    Args:
        video: RGB `(B, F, C, H, W)` in [-1, 1].
        flow_i2v: `(B, F, 2, H, W)` in pixels, on each frame's grid, pointing into the key frame.
        visible: `(B, F, 1, H, W)` in [0, 1]; 1 where the point is seen in the key frame.
        key_index: The key frame's index, one for all or `(B,)`; None for the centre, `F // 2`.

    Returns:
        `(B,)`, a squared difference with colours in [0, 1]; NaN for a clip with nothing visible
        but its key frame.
    """
    batch, num_frames = video.shape[:2]
    chosen = num_frames // 2 if key_index is None else key_index
    index = torch.as_tensor(chosen, device=video.device).expand(batch)
    key_frame = video[torch.arange(batch, device=video.device), index].unsqueeze(1).float()
    error = ((video.float() - warp(key_frame, flow_i2v)) / 2).square().mean(dim=2, keepdim=True)
    others = torch.arange(num_frames, device=video.device) != index[:, None]
    weights = visible.float() * others[:, :, None, None, None]
    return (error * weights).flatten(1).sum(dim=1) / weights.flatten(1).sum(dim=1)


class WarpError(FlowMetric):
    """Temporal consistency: how far a video departs from its own motion (Lai et al. 2018).

    `warp_error` of each frame against the one before it, along the flow estimated between the two
    in the video itself, where the flow back agrees that both show the point; averaged over pairs.
    A frozen clip has 0, the best.
    """

    name = "warp error"
    frozen_clip_wins = True

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
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

    @override
    def protocol(self) -> Description:
        return super().protocol() | {
            "frames": "all pairs of neighbours",
            "along": "the video's own flow, where visible in both; colours in [0, 1]",
        }


class KeyFrameWarpError(VideoMetric):
    """How far a video departs from the motion it was asked to have: `warp_error`.

    Of each frame against the key frame, along the motion that was asked for.
    """

    name = "key-frame warp error"
    needs = ("motion",)
    higher_is_better = False
    frozen_clip_wins = False

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        motion = clips.motion
        assert motion is not None
        visible = visible_mask(motion.flow_i2v, motion.flow_v2i)
        return warp_error(clips.video, motion.flow_i2v, visible, clips.key_index)
