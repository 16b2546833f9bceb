"""How alike the structures of two videos are."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from typing_extensions import override

from movideo.metrics.base import Description, VideoMetric
from movideo.metrics.clips import MeasuredClips


def structural_similarity(pred: Tensor, target: Tensor) -> Tensor:
    """SSIM (Wang et al. 2004) of frames, averaged over all frames of each clip.

    Colours one by one, Gaussian window of 11 pixels with a deviation of 1.5; torchmetrics' way.

    Args:
        pred: RGB `(B, F, C, H, W)` in [-1, 1].
        target: The same.

    Returns:
        `(B,)`, at most 1.
    """
    similarity = structural_similarity_index_measure(
        pred.float().flatten(0, 1), target.float().flatten(0, 1), reduction="none", data_range=2.0
    )
    assert isinstance(similarity, Tensor)  # and not a pair with the full image
    return similarity.view(pred.shape[:2]).mean(dim=1)


def neighbour_similarity(embeddings: Tensor) -> Tensor:
    """Mean cosine between neighbours.

    Args:
        embeddings: of frames, `(B, F, D)`, any length but 0.

    Returns:
        `(B,)` in [-1, 1]; NaN for a single frame.
    """
    early, late = embeddings[:, :-1], embeddings[:, 1:]
    return torch.nn.functional.cosine_similarity(early, late, dim=2).mean(dim=1)


class SSIM(VideoMetric):
    """Structural similarity to the true clip, by `structural_similarity`."""

    name = "SSIM"
    needs = ("truth",)
    higher_is_better = True

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        assert clips.truth is not None
        return structural_similarity(clips.video, clips.truth)

    @override
    def protocol(self) -> Description:
        return super().protocol() | {
            "frames": "all, the key frame too",
            "window": "Gaussian, 11 pixels, deviation 1.5; colours one by one",
        }
