"""Frozen networks that figures look at videos with."""

from movideo.evaluation.extractors.base import Extractor
from movideo.evaluation.extractors.clip import CLIPTowers, clip_towers
from movideo.evaluation.extractors.embedded import EmbeddedVideoFeatures
from movideo.evaluation.extractors.inception import InceptionV3
from movideo.evaluation.extractors.video import C3D, I3D, VideoNetwork

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
