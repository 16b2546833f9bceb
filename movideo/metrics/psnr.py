"""Peak signal-to-noise ratio of clips in [-1, 1]."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from typing_extensions import override

from movideo.clips.batch import without_key_frames
from movideo.metrics.base import Description, VideoMetric
from movideo.metrics.clips import MeasuredClips
from movideo.ops import visible_mask

MAX_PSNR = 100.0
"""What equal clips get, in dB, so that a mean over clips stays finite."""


def masked_psnr(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio over the chosen pixels of each clip.

    The squared error is averaged over all chosen pixels of all frames, then turned into decibels.

    Args:
        pred: RGB `(B, F, C, H, W)` in [-1, 1].
        target: The same.
        mask: `(B, F, 1, H, W)` in [0, 1], how much each pixel counts; None for all alike.

    Returns:
        `(B,)` in dB, at most `MAX_PSNR`; NaN for a clip with an empty mask.
    """
    error = (pred.float() - target.float()).square().mean(dim=2, keepdim=True)
    weights = torch.ones_like(error) if mask is None else mask.float().expand_as(error)
    mean = (error * weights).flatten(1).sum(dim=1) / weights.flatten(1).sum(dim=1)
    return (10 * torch.log10(4 / mean)).clamp(max=MAX_PSNR)


def resampling_psnr(video: Tensor, factor: int = 4) -> Tensor:
    """How hard a clip is: its PSNR after shrinking by `factor` and enlarging again.

    Bicubic both ways, with antialiasing on the way down. Low means fine detail.

    Args:
        video: RGB `(B, F, C, H, W)` in [-1, 1].
        factor: How many times smaller each side becomes, rounded down to whole pixels.

    Returns:
        `(B,)` in dB, at most `MAX_PSNR`.
    """
    frames = video.float().flatten(0, 1)
    height, width = frames.shape[-2:]
    size = (max(1, height // factor), max(1, width // factor))
    small = interpolate(frames, size, mode="bicubic", antialias=True)
    back = interpolate(small, (height, width), mode="bicubic").clamp(-1, 1)
    return masked_psnr(back.view_as(video), video)


class PSNR(VideoMetric):
    """Peak signal-to-noise ratio against the true clip.

    The squared error is averaged over all pixels that count, then turned into decibels.

    Args:
        pixels: which of them count: `all`; those of the `others` than the key frame; or the
            `occluded` ones, which the key frame does not show under the video's motion.
    """

    name = "PSNR"
    unit = "dB"
    needs: tuple[str, ...] = ("truth",)
    higher_is_better = True

    def __init__(self, pixels: Literal["all", "others", "occluded"] = "all") -> None:
        super().__init__()
        self.pixels = pixels
        if pixels == "occluded":
            self.name, self.needs = "PSNR occluded", ("truth", "motion")

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        assert clips.truth is not None
        if self.pixels == "all":
            return masked_psnr(clips.video, clips.truth)
        counts = without_key_frames(torch.ones_like(clips.video[:, :, :1]), clips.key_index)
        if self.pixels == "occluded":
            counts = occluded_mask(clips)
        return masked_psnr(clips.video, clips.truth, counts)

    @override
    def protocol(self) -> Description:
        frames = {
            "all": "all, the key frame too",
            "others": "all but the key frame",
            "occluded": "where the key frame does not show what is there",
        }
        return super().protocol() | {
            "frames": frames[self.pixels],
            "mean": "squared error over a clip, then decibels over clips",
        }


class ResamplingPSNR(VideoMetric):
    """How hard the true clips are, by `resampling_psnr`."""

    name = "PSNR resampled"
    unit = "dB"
    needs = ("truth",)
    higher_is_better = None

    def __init__(self, factor: int = 4) -> None:
        super().__init__()
        self.factor = factor

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        assert clips.truth is not None
        return resampling_psnr(clips.truth, self.factor)


class OccludedShare(VideoMetric):
    """The share of the other frames that the key frame does not show: how hard the clips are."""

    name = "occluded"
    needs = ("motion",)
    higher_is_better = None

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        occluded = occluded_mask(clips)
        others = without_key_frames(torch.ones_like(occluded), clips.key_index)
        return occluded.flatten(1).sum(1) / others.flatten(1).sum(1)


def occluded_mask(clips: MeasuredClips) -> Tensor:
    """`(B, F, 1, H, W)`, 1 where the key frame does not show what is there; 0 in the key frame."""
    assert clips.motion is not None
    visible = visible_mask(clips.motion.flow_i2v, clips.motion.flow_v2i)
    return without_key_frames(1 - visible, clips.key_index)
