"""How good generated videos are, beside what costs nothing: repeating and warping the key frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from movideo.clips.batch import ClipBatch, key_frames
from movideo.losses import FramePerceptualLoss
from movideo.metrics import ClipMean, MaskedPSNR, PerceptualDistance, ResamplingPSNR, WarpError
from movideo.motion.space import Motion
from movideo.ops import visible_mask, warp
from stages.perceptual_score import score_or_default

RIVALS = ("", "_repeat", "_warp")  # the generated video, the repeated and the warped key frame


class Share(ClipMean):
    """How much of one region `(B, F, 1, H, W)` of ones another covers, a number in [0, 1]."""

    def update(self, part: Tensor, whole: Tensor) -> None:
        """Counts a batch of clips."""
        self.add(part.flatten(1).sum(1) / whole.flatten(1).sum(1))


class GenerationMetrics(nn.Module):
    """Figures of generated videos against the true ones, means over clips.

    The key frame itself does not count, `psnr_resampled` and the perceptual distance apart.

    `psnr`, `psnr_repeat`, `psnr_warp`: of the generated video, the repeated and the warped key
    frame.
    `psnr_occluded`, `psnr_occluded_warp`: the same where the key frame does not show what is there.
    `perceptual_2d_lpips` or `perceptual_2d_random-features`, the same with `_repeat` and `_warp`:
    perceptual distance of those three.
    `warp_error`, `warp_error_truth`: departure from the key frame along the flow where visible, of
    generated and true.
    `occluded`, `psnr_resampled`: how difficult the clips are: share of occluded pixels, PSNR of 4x
    down and up sampling.

    Args:
        score: the perceptual distance; of random features by default.
    """

    def __init__(self, score: FramePerceptualLoss | None = None) -> None:
        super().__init__()
        self.score = score_or_default(score)
        psnr = (
            "psnr",
            "psnr_repeat",
            "psnr_warp",
            "psnr_occluded",
            "psnr_occluded_repeat",
            "psnr_occluded_warp",
        )
        self.figures = nn.ModuleDict({name: MaskedPSNR() for name in psnr})
        self.figures.update(
            {f"{self.score.curve}{of}": PerceptualDistance(self.score.distances) for of in RIVALS}
        )
        self.figures.update({name: WarpError() for name in ("warp_error", "warp_error_truth")})
        self.figures.update({"occluded": Share(), "psnr_resampled": ResamplingPSNR()})

    def update(self, batch: ClipBatch, generated: Tensor, motion: Motion) -> None:
        """Takes in a batch of videos `(B, F, 3, H, W)` generated under `motion`."""
        video, key_index = batch["video"], batch["key_index"]
        key = key_frames(video, key_index)[:, None]
        warped = warp(key, motion.flow_i2v)
        visible = visible_mask(motion.flow_i2v, motion.flow_v2i)
        others = torch.ones_like(visible)
        others[torch.arange(len(video), device=video.device), key_index] = 0
        occluded = (1 - visible) * others
        self._add("psnr", generated, video, others)
        self._add("psnr_repeat", key.expand_as(video), video, others)
        self._add("psnr_warp", warped, video, others)
        self._add("psnr_occluded", generated, video, occluded)
        self._add("psnr_occluded_repeat", key.expand_as(video), video, occluded)
        self._add("psnr_occluded_warp", warped, video, occluded)
        for of, rival in zip(RIVALS, (generated, key.expand_as(video), warped), strict=True):
            self._add(f"{self.score.curve}{of}", rival, video)
        self._add("warp_error", generated, motion.flow_i2v, visible, key_index)
        self._add("warp_error_truth", video, motion.flow_i2v, visible, key_index)
        self._add("psnr_resampled", video)
        self._add("occluded", occluded, others)

    def compute(self) -> dict[str, Tensor]:
        """Every figure by name."""
        return {name: figure.compute() for name, figure in self.figures.items()}  # type: ignore[operator]

    def reset(self) -> None:
        """Forgets the clips seen so far."""
        for figure in self.figures.values():
            figure.reset()  # type: ignore[operator]

    def _add(self, name: str, *args: Tensor) -> None:
        self.figures[name].update(*args)  # type: ignore[operator]
