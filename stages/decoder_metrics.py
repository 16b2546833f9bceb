"""How well decoders bring back the clips whose latents they were given (MoVideo Table 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from movideo.clips.batch import ClipBatch
from movideo.losses import FramePerceptualLoss
from movideo.metrics import ClipMean, MaskedPSNR, PerceptualDistance, WarpError
from movideo.motion.labels import label_motion
from movideo.ops import visible_mask
from stages.perceptual_score import score_or_default

TRUTH = "truth"


class DecoderMetrics(nn.Module):
    """PSNR, perceptual distance and warp error, a row a decoder, means over clips.

    The row `truth` has the true clips' own warp error: labels and pixels never quite agree.

    Args:
        score: the perceptual distance; of random features by default.
    """

    def __init__(self, score: FramePerceptualLoss | None = None) -> None:
        super().__init__()
        self.score = score_or_default(score)
        self.rows: dict[str, dict[str, ClipMean]] = {}

    def update(self, batch: ClipBatch, decoded: dict[str, Tensor]) -> None:
        """Takes in a batch as each decoder gave it, `(B, F, 3, H, W)` by row."""
        motion, truth = label_motion(batch), batch["video"]
        visible = visible_mask(motion.flow_i2v, motion.flow_v2i)
        for name, video in {TRUTH: truth, **decoded}.items():
            row = self._row(name, video.device)
            clamped = video.clamp(-1, 1)
            row["warp_error"].update(clamped, motion.flow_i2v, visible, batch["key_index"])
            if name != TRUTH:
                row["psnr"].update(clamped, truth)
                row[self.score.curve].update(clamped, truth)

    def compute(self) -> dict[str, Tensor]:
        """Every figure, as `row/figure`."""
        return {
            f"{name}/{figure}": metric.compute()
            for name, row in self.rows.items()
            for figure, metric in row.items()
            if metric.update_called
        }

    def reset(self) -> None:
        """Forgets the clips seen so far."""
        self.rows = {}

    def _row(self, name: str, device: torch.device) -> dict[str, ClipMean]:
        if name not in self.rows:
            row: dict[str, ClipMean] = {
                "psnr": MaskedPSNR(),
                self.score.curve: PerceptualDistance(self.score.distances),
                "warp_error": WarpError(),
            }
            self.rows[name] = {figure: metric.to(device) for figure, metric in row.items()}
        return self.rows[name]
