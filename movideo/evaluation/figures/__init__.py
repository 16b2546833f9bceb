"""The columns of a report."""

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

__all__ = [
    "CLIPSIM",
    "FID",
    "FVD",
    "LPIPS",
    "PSNR",
    "SSIM",
    "DepthErrorFigure",
    "EmbeddedVideoDistance",
    "FlowError",
    "FrameConsistency",
    "FrechetDistance",
    "InceptionScore",
    "MotionFidelity",
    "RandomFeatureDistance",
    "WarpErrorFigure",
]
