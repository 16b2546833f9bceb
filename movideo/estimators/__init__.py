"""Teachers that make pseudo-labels: depth and flow of a clip."""

from movideo.estimators.base import DepthEstimator, Estimator, FlowEstimator
from movideo.estimators.dis_flow import DISFlow
from movideo.estimators.parallax_depth import ParallaxDepth

__all__ = ["DISFlow", "DepthEstimator", "Estimator", "FlowEstimator", "ParallaxDepth"]
