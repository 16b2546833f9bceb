"""Metrics: functions of clips, each with a name, a unit, a direction and needs.

A metric is a class derived from `VideoMetric`, one subject a file; the tests of the stages, the
tables and the reports use the same. Names resolve on first use: some bring large libraries along.
"""

from typing import TYPE_CHECKING

from movideo.lazy import resolver

if TYPE_CHECKING:
    from movideo.metrics.base import Description, VideoMetric
    from movideo.metrics.clip import CLIPSIM, FrameConsistency
    from movideo.metrics.clips import MeasuredClips
    from movideo.metrics.depth import DepthError, depth_error, fit_scale_and_shift
    from movideo.metrics.flow import (
        EndPointError,
        FlowCosine,
        FlowError,
        MotionFidelity,
        end_point_error,
        flow_cosine,
    )
    from movideo.metrics.frechet import (
        FID,
        FVD,
        EmbeddedVideoDistance,
        FrechetDistance,
        frechet_distance,
    )
    from movideo.metrics.inception import InceptionScore, inception_score
    from movideo.metrics.perceptual import LPIPS, PerceptualMetric, RandomFeatureDistance
    from movideo.metrics.psnr import (
        PSNR,
        OccludedShare,
        ResamplingPSNR,
        masked_psnr,
        resampling_psnr,
    )
    from movideo.metrics.similarity import SSIM, neighbour_similarity, structural_similarity
    from movideo.metrics.warping import KeyFrameWarpError, WarpError, warp_error

__all__ = [
    "CLIPSIM",
    "FID",
    "FVD",
    "LPIPS",
    "PSNR",
    "SSIM",
    "DepthError",
    "Description",
    "EmbeddedVideoDistance",
    "EndPointError",
    "FlowCosine",
    "FlowError",
    "FrameConsistency",
    "FrechetDistance",
    "InceptionScore",
    "KeyFrameWarpError",
    "MeasuredClips",
    "MotionFidelity",
    "OccludedShare",
    "PerceptualMetric",
    "RandomFeatureDistance",
    "ResamplingPSNR",
    "VideoMetric",
    "WarpError",
    "depth_error",
    "end_point_error",
    "fit_scale_and_shift",
    "flow_cosine",
    "frechet_distance",
    "inception_score",
    "masked_psnr",
    "neighbour_similarity",
    "resampling_psnr",
    "structural_similarity",
    "warp_error",
]

__getattr__ = resolver(
    __name__,
    {
        "CLIPSIM": "clip",
        "DepthError": "depth",
        "Description": "base",
        "EmbeddedVideoDistance": "frechet",
        "EndPointError": "flow",
        "FID": "frechet",
        "FVD": "frechet",
        "FlowCosine": "flow",
        "FlowError": "flow",
        "FrameConsistency": "clip",
        "FrechetDistance": "frechet",
        "InceptionScore": "inception",
        "KeyFrameWarpError": "warping",
        "LPIPS": "perceptual",
        "MeasuredClips": "clips",
        "MotionFidelity": "flow",
        "OccludedShare": "psnr",
        "PSNR": "psnr",
        "PerceptualMetric": "perceptual",
        "RandomFeatureDistance": "perceptual",
        "ResamplingPSNR": "psnr",
        "SSIM": "similarity",
        "VideoMetric": "base",
        "WarpError": "warping",
        "depth_error": "depth",
        "end_point_error": "flow",
        "fit_scale_and_shift": "depth",
        "flow_cosine": "flow",
        "frechet_distance": "frechet",
        "inception_score": "inception",
        "masked_psnr": "psnr",
        "neighbour_similarity": "similarity",
        "resampling_psnr": "psnr",
        "structural_similarity": "similarity",
        "warp_error": "warping",
    },
)
