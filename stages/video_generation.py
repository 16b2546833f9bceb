"""The whole chain on a data set or on key frames: test and predict only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from movideo.clips.batch import ClipBatch, key_frames
from movideo.clips.key_frames import KeyFrameBatch
from movideo.diffusion import ClassifierFreeGuidance, Guidance, sample_generator
from movideo.errors import UserError
from movideo.hub import EMBEDDED
from movideo.hub.needs import WeightSpec
from movideo.metrics import VideoMetric
from movideo.pipeline import GeneratedVideos, MoVideoPipeline
from movideo.text_to_image import TextToImage, required
from movideo.video.write import write_mp4
from stages.metric_rows import MetricRows, generation_metrics, generation_rows
from stages.predictions import PredictionFolder, Row


class VideoGeneration(L.LightningModule):
    """Generates a video, motion included, from the key frame of every clip, picture or prompt.

    Pictures and prompts come from `datamodules.KeyFrameDataModule`, and of those only what is not
    there yet is made.

    Args:
        model: a folder written by `movideo export`; by default the small one that comes along.
        num_inference_steps: of either diffusion, or one number for motion and one for video; by
            default as many as the model says, or its solvers need.
        guidance: classifier-free guidance with scale 1 by default.
        seed: of the noise; each video's own depends on its name too.
        out: where `movideo predict` writes its videos.
        text_to_image: makes key frames of prompts; needed for nothing else.
        metrics: of tests; by default `stages.metric_rows.generation_metrics`.
    """

    weight_spec = WeightSpec(checkpoints={"model": "movideo export"})

    def __init__(
        self,
        model: str = EMBEDDED,
        num_inference_steps: int | tuple[int, int] | None = None,
        guidance: Guidance | None = None,
        seed: int = 0,
        out: str = "predictions",
        text_to_image: TextToImage | None = None,
        metrics: list[VideoMetric] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.pipeline = MoVideoPipeline.from_pretrained(model)
        self.num_inference_steps = num_inference_steps
        self.guidance = guidance or ClassifierFreeGuidance()
        self.seed = seed
        self.predictions = PredictionFolder(out)
        self.text_to_image = text_to_image
        self.metrics = MetricRows(metrics or generation_metrics())

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

    def setup(self, stage: str) -> None:
        """Leaves out the videos that are there already, where data can do without them.

        Raises:
            UserError: a video that is there was made otherwise, or prompts lack a text-to-image.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        if stage != "predict" or not hasattr(data, "leave_out"):
            return
        if data.has_prompts:
            required(self.text_to_image)
        own = self._settings(data.has_prompts)
        settings: dict[str, Row] = data.settings()
        made = self.predictions.announce({name: row | own for name, row in settings.items()})
        data.leave_out(made)
        if made:
            rank_zero_info(
                f"{self.predictions.folder}: {len(made)} of {len(settings)} videos are there"
            )

    def _settings(self, has_prompts: bool) -> Row:
        """What every video depends on here; plain values."""
        row: Row = {
            "model": self.model,
            "num_inference_steps": self.num_inference_steps,
            "guidance": str(self.guidance),
            "seed": self.seed,
        }
        if has_prompts and self.text_to_image is not None:
            row["text_to_image"] = self.text_to_image.settings
        return row

    def generate(self, batch: ClipBatch) -> GeneratedVideos:
        """Videos of the clips' key frames at their frame rates."""
        image = key_frames(batch["video"], batch["key_index"])
        return self._generate(image, batch["video"].shape[1], batch, self._generators(batch))

    def _generate_from(self, batch: KeyFrameBatch) -> GeneratedVideos:
        """Videos of pictures, or of prompts, whose pictures are drawn first."""
        generators = self._generators(batch)
        if "prompt" in batch:
            assert self.text_to_image is not None
            draw = self.text_to_image.to(self.device)
            image = draw(batch["prompt"], batch["size"], generators)
        else:
            image = batch["image"]
        return self._generate(image, batch["num_frames"], batch, generators)

    def _generators(self, batch: ClipBatch | KeyFrameBatch) -> list[torch.Generator]:
        return [sample_generator(self.seed, name) for name in batch["name"]]

    def _generate(
        self,
        image: Tensor,
        num_frames: int,
        batch: ClipBatch | KeyFrameBatch,
        generators: list[torch.Generator],
    ) -> GeneratedVideos:
        return self.pipeline.to(self.device).generate(
            image,
            fps=batch["fps"],
            num_frames=num_frames,
            key_index=batch["key_index"],
            num_inference_steps=self.num_inference_steps,
            generator=generators,
            guidance=self.guidance,
        )

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Measures videos whose motion was generated too."""
        result = self.generate(batch)
        self.metrics.update(generation_rows(batch, result.video, result.motion))

    def on_test_epoch_end(self) -> None:
        """Reports the metrics over all test clips."""
        self.log_dict(self.metrics.logged())
        self.metrics.reset()

    def predict_step(self, batch: ClipBatch | KeyFrameBatch, batch_idx: int) -> list[Path]:
        """Writes one mp4 a video, under a temporary name first."""
        if not batch["name"]:  # not one of its pictures could be read
            return []
        if "video" in batch:
            result = self.generate(cast(ClipBatch, batch))
        else:
            result = self._generate_from(cast(KeyFrameBatch, batch))
        paths = [self.predictions.video(name) for name in batch["name"]]
        for path, video, fps in zip(paths, result.video, batch["fps"], strict=True):
            write_mp4(path, video.cpu(), float(fps))
        return paths

    def on_predict_end(self) -> None:
        """Says where the videos are."""
        rank_zero_info(f"videos in {self.predictions.folder}")
