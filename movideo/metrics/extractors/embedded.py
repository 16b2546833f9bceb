"""Features of videos without any weights from elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from movideo.losses import S3DFeatures
from movideo.metrics.base import Description
from movideo.metrics.extractors.base import Extractor

LEVELS = 2  # deeper ones see less of motion


class EmbeddedVideoFeatures(Extractor):
    """What the first two levels of an S3D with random weights see, and how it changes.

    Of each of their 256 channels the mean over the clip, and the mean absolute difference between
    neighbours in time, without which a frozen clip would hardly stand out. Between the same 24
    scenes and what was made of them, the Fréchet distance puts them in this order: 0.1 warping the
    key frame, 0.2 noise of 0.05, 0.7 the frozen key frame and a blur of 3 pixels, 1.6 to 1.9 the
    frames shuffled, 80 and more grey or noise.

    Args:
        seed: of the weights.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.network = S3DFeatures(seed=seed)

    @torch.no_grad()
    @override
    def forward(self, video: Tensor) -> Tensor:
        features = []
        for level in self.network(video.float())[:LEVELS]:
            still = level.mean(dim=(2, 3, 4))
            if level.shape[2] > 1:
                changes = (level[:, :, 1:] - level[:, :, :-1]).abs().mean(dim=(2, 3, 4))
            else:
                changes = torch.zeros_like(still)
            features += [still, changes]
        return torch.cat(features, dim=1)

    @override
    def protocol(self) -> Description:
        return {
            "extractor": f"S3D with random weights of seed {self.seed}, first {LEVELS} levels, "
            "mean and change in time",
            "frames": "all",
            "resize": "none",
        }
