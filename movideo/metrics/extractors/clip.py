"""CLIP: frames and sentences as points of one space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Self

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn
from torch.nn.functional import normalize

from movideo.hub.open_clip import create_clip
from movideo.hub.weight_files import fingerprint
from movideo.metrics.base import Description
from movideo.metrics.extractors.base import fill

FRAMES_AT_ONCE = 32


class CLIPTowers(nn.Module):
    """Both towers of a CLIP, frozen.

    Frames are shown as CLIP was trained: resized so that they cover its square, bicubically with
    antialiasing, and cut at the centre. No longer sentence is read than it can: the rest is cut.

    Args:
        pretrained: `MODEL:TAG`, `MODEL:FILE`, `hf-hub:owner/name`, `local-dir:folder` or a folder,
            as open_clip has them.

    Raises:
        UserError: it cannot be loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, pretrained: str) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.clip, model = create_clip(pretrained)
        self.clip.eval().requires_grad_(False)
        self.tokenize = open_clip.get_tokenizer(model)
        visual = self.clip.visual
        mean = getattr(visual, "image_mean", None) or OPENAI_DATASET_MEAN
        std = getattr(visual, "image_std", None) or OPENAI_DATASET_STD
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.fingerprint = fingerprint(self.clip)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    @property
    def size(self) -> tuple[int, int]:
        """`(H, W)` that it sees."""
        size = self.clip.visual.image_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    @torch.no_grad()
    def frames(self, video: Tensor) -> Tensor:
        """Every frame of `(B, F, 3, H, W)` in [-1, 1] as a point of length 1, `(B, F, D)`."""
        images = fill(video.flatten(0, 1).float(), self.size, mode="bicubic", antialias=True)
        pixels = (images * 0.5 + 0.5 - self.mean) / self.std
        found = [self.clip.encode_image(some) for some in pixels.split(FRAMES_AT_ONCE)]
        return normalize(torch.cat(found).float(), dim=1).view(*video.shape[:2], -1)

    @torch.no_grad()
    def sentences(self, prompts: Sequence[str]) -> Tensor:
        """Every sentence as a point of length 1, `(B, D)`."""
        tokens = self.tokenize(list(prompts)).to(self.mean.device)
        return normalize(self.clip.encode_text(tokens).float(), dim=1)

    def protocol(self) -> Description:
        """Which CLIP it is, and what it is shown."""
        height, width = self.size
        return {
            "extractor": f"open_clip {self.pretrained}, weights {self.fingerprint}",
            "resize": f"bicubic with antialiasing to cover {height}x{width}, centre crop",
        }


@lru_cache
def clip_towers(pretrained: str) -> CLIPTowers:
    """One for all metrics that name it."""
    return CLIPTowers(pretrained)
