"""Frozen networks that metrics look at videos with."""

from movideo.metrics.extractors.base import Extractor
from movideo.metrics.extractors.clip import CLIPTowers, clip_towers
from movideo.metrics.extractors.embedded import EmbeddedVideoFeatures
from movideo.metrics.extractors.inception import InceptionV3
from movideo.metrics.extractors.video import C3D, I3D, VideoNetwork

__all__ = [
    "C3D",
    "I3D",
    "CLIPTowers",
    "EmbeddedVideoFeatures",
    "Extractor",
    "InceptionV3",
    "VideoNetwork",
    "clip_towers",
]
