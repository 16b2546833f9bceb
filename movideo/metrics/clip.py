"""What CLIP says of videos: whether they show what was asked for, and the same throughout."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub.needs import WeightSpec
from movideo.hub.open_clip import on_hub
from movideo.metrics.base import Description, VideoMetric
from movideo.metrics.clips import MeasuredClips
from movideo.metrics.extractors import CLIPTowers, clip_towers
from movideo.metrics.similarity import neighbour_similarity

MISSING = (
    "name a CLIP as its `pretrained`: open_clip's MODEL:TAG (ViT-B-32:openai), MODEL:FILE, "
    "hf-hub:owner/name or a folder"
)


class CLIPMetric(VideoMetric):
    """A metric of the points that CLIP gives to frames.

    Args:
        pretrained: which CLIP, as open_clip names it (`ViT-B-32:openai`); see `CLIPTowers`. Null,
            or a name that cannot be had from a hub, makes the metric unavailable.

    Raises:
        UserError: the folder or file cannot be loaded.
    """

    weight_spec = WeightSpec(is_open_clip=True)

    higher_is_better = True

    def __init__(self, pretrained: str | None = None) -> None:
        super().__init__()
        self.towers: CLIPTowers | None = None
        self.missing: str | None = MISSING
        if pretrained is not None:
            try:
                self.towers, self.missing = clip_towers(pretrained), None
            except UserError as error:
                if not on_hub(pretrained):
                    raise
                self.missing = str(error)

    @override
    def unavailable(self) -> str | None:
        return self.missing

    def frames(self, clips: MeasuredClips) -> Tensor:
        """The points of frames, `(B, F, D)` of length 1."""
        assert self.towers is not None, self.unavailable()
        return self.towers.frames(clips.video)

    @override
    def protocol(self) -> Description:
        towers = {} if self.towers is None else self.towers.protocol()
        return super().protocol() | {"frames": "all"} | towers


class CLIPSIM(CLIPMetric):
    """Cosine between each frame and the prompt, averaged over frames (Wu et al. 2021)."""

    name = "CLIPSIM"
    needs = ("prompts",)

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        assert self.towers is not None, self.unavailable()
        assert clips.prompts is not None
        sentences = self.towers.sentences(clips.prompts)[:, None]
        return (self.frames(clips) * sentences).sum(dim=2).mean(dim=1)


class FrameConsistency(CLIPMetric):
    """Cosine between neighbouring frames, averaged over them. A frozen clip has 1, the best."""

    name = "frame consistency"
    frozen_clip_wins = True

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        return neighbour_similarity(self.frames(clips))
