"""Tables of figures that compare ways to make videos, and the report of a test."""

from movideo.evaluation.figures.clip import CLIPSIM, FrameConsistency
from movideo.evaluation.figures.fidelity import LPIPS, PSNR, SSIM, RandomFeatureDistance
from movideo.evaluation.figures.frechet import FID, FVD, EmbeddedVideoDistance, FrechetDistance
from movideo.evaluation.figures.inception_score import InceptionScore
from movideo.evaluation.figures.motion import (
    DepthErrorFigure,
    FlowError,
    MotionFidelity,
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
from movideo.metrics.base import Figure
from movideo.metrics.clips import JudgedClips

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
