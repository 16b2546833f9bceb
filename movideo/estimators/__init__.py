"""Teachers that make pseudo-labels: depth and flow of a clip."""

from movideo.estimators.base import DepthEstimator, Estimator, FlowEstimator
from movideo.estimators.dis_flow import DISFlow
from movideo.estimators.parallax_depth import ParallaxDepth
from movideo.estimators.raft import RAFT
from movideo.estimators.transformers_depth import TransformersDepth

__all__ = [
    "RAFT",
    "DISFlow",
    "DepthEstimator",
    "Estimator",
    "FlowEstimator",
    "ParallaxDepth",
    "TransformersDepth",
]
