"""The terms of the video decoder's loss (MoVideo Eq. 18).

Each is a module `(decoded, truth) -> scalar` over videos `(B, F, 3, H, W)` in [-1, 1], with its
weight, the step it starts at and the name of its curve; none applies its own weight.
"""

from movideo.losses.adversarial import AdversarialLoss, adaptive_ratio
from movideo.losses.backbones import S3DFeatures, VGG16Features
from movideo.losses.base import VideoLoss
from movideo.losses.perceptual import FramePerceptualLoss, VideoPerceptualLoss
from movideo.losses.reconstruction import L1Loss

__all__ = [
    "AdversarialLoss",
    "FramePerceptualLoss",
    "L1Loss",
    "S3DFeatures",
    "VGG16Features",
    "VideoLoss",
    "VideoPerceptualLoss",
    "adaptive_ratio",
]
