"""Peak signal-to-noise ratio of clips in [-1, 1]."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from movideo.metrics.clip_mean import ClipMean

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


class MaskedPSNR(ClipMean):
    """Mean over clips of `masked_psnr`, in dB."""

    higher_is_better = True

    def update(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Count some clips; arguments as for `masked_psnr`."""
        self.add(masked_psnr(pred, target, mask))


class ResamplingPSNR(ClipMean):
    """Mean over clips of `resampling_psnr`, in dB."""

    higher_is_better = None

    def __init__(self, factor: int = 4) -> None:
        """Keep the factor."""
        super().__init__()
        self.factor = factor

    def update(self, video: Tensor) -> None:
        """Count some clips `(B, F, C, H, W)` in [-1, 1]."""
        self.add(resampling_psnr(video, self.factor))
