"""Figures as pure functions of clips, or of sets of features, and means of figures over clips."""

from movideo.metrics.clip_mean import ClipMean
from movideo.metrics.depth import DepthError, align_depth, depth_error
from movideo.metrics.flow import EndPointError, FlowCosine, end_point_error, flow_cosine
from movideo.metrics.frechet import frechet_distance
from movideo.metrics.inception_score import inception_score
from movideo.metrics.perceptual import PerceptualDistance
from movideo.metrics.psnr import MaskedPSNR, ResamplingPSNR, masked_psnr, resampling_psnr
from movideo.metrics.similarity import neighbour_similarity, structural_similarity
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
    "frechet_distance",
    "inception_score",
    "masked_psnr",
    "neighbour_similarity",
    "resampling_psnr",
    "structural_similarity",
    "warp_error",
]
