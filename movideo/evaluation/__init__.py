"""Tables of figures that compare ways to make videos, and the report of a test."""

from movideo.evaluation.clips import JudgedClips
from movideo.evaluation.figure import Figure
from movideo.evaluation.figures import (
    CLIPSIM,
    FID,
    FVD,
    LPIPS,
    PSNR,
    SSIM,
    DepthErrorFigure,
    EmbeddedVideoDistance,
    FlowError,
    FrameConsistency,
    FrechetDistance,
    InceptionScore,
    MotionFidelity,
    RandomFeatureDistance,
    WarpErrorFigure,
)
from movideo.evaluation.methods import (
    FlowWarping,
    FrozenKeyFrame,
    Generation,
    Method,
    MethodUnavailable,
    Reconstruction,
)

__all__ = [
    "CLIPSIM",
    "FID",
    "FVD",
    "LPIPS",
    "PSNR",
    "SSIM",
    "DepthErrorFigure",
    "EmbeddedVideoDistance",
    "Figure",
    "FlowError",
    "FlowWarping",
    "FrameConsistency",
    "FrechetDistance",
    "FrozenKeyFrame",
    "Generation",
    "InceptionScore",
    "JudgedClips",
    "Method",
    "MethodUnavailable",
    "MotionFidelity",
    "RandomFeatureDistance",
    "Reconstruction",
    "WarpErrorFigure",
]
