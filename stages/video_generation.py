"""The whole chain on a data set: test and predict only."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from movideo.diffusion import ClassifierFreeGuidance, Guidance
from movideo.errors import UserError
from movideo.losses import FramePerceptualLoss
from movideo.models.motion_space import Motion
from movideo.models.pretrained import EMBEDDED
from movideo.pictures import key_frames
from movideo.pipeline import MoVideoOutput, MoVideoPipeline
from movideo.video.batch import ClipBatch
from movideo.video.write import write_mp4
from stages.generation_metrics import GenerationMetrics
from stages.randomness import sample_generator


class VideoGeneration(L.LightningModule):
    """Generates a video, motion included, from the key frame of every clip.

    Args:
        model: a folder written by `movideo export`; by default the small one that comes along.
        num_inference_steps: of either diffusion.
        guidance: classifier-free guidance with scale 1 by default.
        seed: of the noise; each clip's own depends on its name too.
        out: where `movideo predict` writes its videos.
        perceptual_score: what tests measure with; random features by default.
    """

    def __init__(
        self,
        model: str = EMBEDDED,
        num_inference_steps: int = 50,
        guidance: Guidance | None = None,
        seed: int = 0,
        out: str = "predictions",
        perceptual_score: FramePerceptualLoss | None = None,
    ) -> None:
        super().__init__()
        self.pipeline = MoVideoPipeline.from_pretrained(model)
        self.num_inference_steps = num_inference_steps
        self.guidance = guidance or ClassifierFreeGuidance()
        self.seed = seed
        self.out = Path(out)
        self.metrics = GenerationMetrics(perceptual_score)

    def training_step(self, *_: object) -> None:
        """Never reached: `configure_optimizers` refuses first."""

    def configure_optimizers(self) -> None:
        """Refuses to train.

        Raises:
            UserError: always.
        """
        raise UserError(
            "stages.VideoGeneration: nothing to train; use it with movideo test or movideo predict"
        )

    def generate(self, batch: ClipBatch) -> MoVideoOutput:
        """Videos of the clips' key frames at their frame rates."""
        return self.pipeline.to(self.device)(
            key_frames(batch["video"], batch["key_index"]),
            fps=batch["fps"],
            num_frames=batch["video"].shape[1],
            key_index=batch["key_index"],
            num_inference_steps=self.num_inference_steps,
            generator=[sample_generator(self.seed, name) for name in batch["name"]],
            guidance=self.guidance,
        )

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Figures of videos whose motion was generated too."""
        result = self.generate(batch)
        motion = Motion(result.depth, result.flow_i2v, result.flow_v2i)
        self.metrics.update(batch, result.video, motion)

    def on_test_epoch_end(self) -> None:
        """Reports the figures of all test clips."""
        self.log_dict({f"test/{name}": value for name, value in self.metrics.compute().items()})
        self.metrics.reset()

    def predict_step(self, batch: ClipBatch, batch_idx: int) -> list[Path]:
        """Writes one mp4 a clip."""
        result = self.generate(batch)
        paths = [self.out / f"{name}.mp4" for name in batch["name"]]
        for path, video, fps in zip(paths, result.video, batch["fps"], strict=True):
            write_mp4(path, video.cpu(), float(fps))
        return paths
