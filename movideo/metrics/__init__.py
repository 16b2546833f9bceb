"""Figures that torchmetrics lacks: a pure function of a batch of clips, and its mean over clips."""

from movideo.metrics.clip_mean import ClipMean
from movideo.metrics.depth import DepthError, align_depth, depth_error
from movideo.metrics.flow import EndPointError, FlowCosine, end_point_error, flow_cosine
from movideo.metrics.perceptual import PerceptualDistance
from movideo.metrics.psnr import MaskedPSNR, ResamplingPSNR, masked_psnr, resampling_psnr
from movideo.metrics.warping import WarpError, warp_error

__all__ = [
    "ClipMean",
    "DepthError",
    "EndPointError",
    "FlowCosine",
    "MaskedPSNR",
    "PerceptualDistance",
    "ResamplingPSNR",
    "WarpError",
    "align_depth",
    "depth_error",
    "end_point_error",
    "flow_cosine",
    "masked_psnr",
    "resampling_psnr",
    "warp_error",
]
