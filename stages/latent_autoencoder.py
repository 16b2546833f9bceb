"""Stage 0: the latent autoencoder, for those who bring no pretrained one."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from movideo.clips.batch import ClipBatch
from movideo.diffusion import SampleRandomness
from movideo.losses import FramePerceptualLoss
from movideo.metrics import PerceptualDistance
from movideo.models import VideoAutoencoder
from movideo.visualization.contact_sheet import contact_sheet
from stages.base import Stage
from stages.perceptual_score import score_or_default
from stages.randomness import training_randomness
from stages.schedules import WarmupCosine

VARIANCE_MOMENTUM = 0.98  # the latent's spread, over about the last fifty steps


class LatentAutoencoder(Stage):
    """Trains an `AutoencoderKL` on single frames and measures its latent's scale.

    Args:
        autoencoder: trained here.
        reconstruction: the pixel loss, of decoded and true frames `(N, 3, H, W)` in [-1, 1].
        perceptual: a further loss, of what a network sees in the frames; none by default.
        kl_weight: weight of the posterior's divergence from a standard normal, summed over the
            latent.
        optimizer: see `Stage`.
        lr_scheduler: see `Stage`.
        init_from: see `Stage`.
        perceptual_score: what validation and tests measure with; random features by default.
        seed: of the posterior's noise in training.
    """

    model_role = "autoencoder"
    latent_variance: Tensor

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        reconstruction: nn.Module | None = None,
        perceptual: FramePerceptualLoss | None = None,
        kl_weight: float = 1e-6,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable = WarmupCosine,
        init_from: str | None = None,
        perceptual_score: FramePerceptualLoss | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, ema_decay=None, init_from=init_from)
        self.autoencoder = autoencoder
        self.reconstruction = reconstruction or nn.L1Loss()
        self.perceptual = perceptual
        self.kl_weight = kl_weight
        self.seed = seed
        self.register_buffer("latent_variance", torch.tensor(float("nan")))
        self.metrics = MetricCollection(
            {
                "psnr": PeakSignalNoiseRatio(
                    data_range=(-1.0, 1.0), reduction="elementwise_mean", dim=(1, 2, 3)
                ),
                "ssim": StructuralSimilarityIndexMeasure(data_range=(-1.0, 1.0)),
            }
        )
        self.score = score_or_default(perceptual_score)
        self.perceptual_distance = PerceptualDistance(self.score.distances)
        self.freeze_parts("score", *(["perceptual"] if perceptual else []))

    def components(self) -> dict[str, object]:
        """The autoencoder."""
        return {"autoencoder": self.autoencoder}

    def _step(self, batch: ClipBatch, randomness: SampleRandomness | None) -> dict[str, Tensor]:
        """The loss and its terms, keyed for the log; without randomness no posterior noise."""
        frames = batch["video"].flatten(0, 1)
        posterior = self.autoencoder.posterior(frames)
        latents = posterior.mode()
        if randomness is not None:
            shape = (batch["video"].shape[1], *latents.shape[1:])
            noise = randomness.noise(shape, device=self.device).flatten(0, 1)
            latents = latents + posterior.std * noise
        decoded = self.autoencoder.model.decode(latents).sample
        pixel = self.reconstruction(decoded, frames)
        kl = posterior.kl().mean()
        terms = {"loss": pixel + self.kl_weight * kl, "reconstruction": pixel, "kl": kl}
        if self.perceptual is not None:
            seen = self.perceptual(decoded[:, None], frames[:, None])
            terms["loss"] = terms["loss"] + self.perceptual.weight * seen
            terms["perceptual"] = seen
        if randomness is not None:
            self._measure_scale(posterior.mode().detach())
        return terms

    @torch.no_grad()
    def _measure_scale(self, latents: Tensor) -> None:
        variance = self.trainer.strategy.reduce(latents.float().var(), reduce_op="mean")
        # Ramped as the weight average is: an untrained encoder's spread is soon forgotten.
        momentum = min(VARIANCE_MOMENTUM, (1 + self.global_step) / (10 + self.global_step))
        known = self.latent_variance.isfinite()
        measured = variance.lerp(torch.where(known, self.latent_variance, variance), momentum)
        self.latent_variance = torch.where(variance.isfinite(), measured, self.latent_variance)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """One step on every frame of the batch."""
        size = len(batch["video"])
        randomness = training_randomness(self.trainer, self.seed, size, batch_idx)
        terms = self._step(batch, randomness)
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in terms.items()}, prog_bar=True
        )
        return terms["loss"]

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The loss without the posterior's noise, and the figures of a test.

        Of the first batch also pictures.
        """
        size = len(batch["video"])
        terms = self._step(batch, None)
        self.log_dict(
            {f"val/{name}": value for name, value in terms.items()}, batch_size=size, sync_dist=True
        )
        reconstructed = self._evaluate(batch, "val")
        if batch_idx == 0:
            self.log_picture("val/reconstruction", _pairs(batch["video"], reconstructed))

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """PSNR, SSIM and perceptual distance of reconstructions."""
        self._evaluate(batch, "test")

    def _evaluate(self, batch: ClipBatch, split: str) -> Tensor:
        video = batch["video"]
        reconstructed = self.autoencoder.decode(self.autoencoder.encode(video)).clamp(-1, 1)
        self.metrics.update(reconstructed.flatten(0, 1), video.flatten(0, 1))
        self.perceptual_distance.update(reconstructed, video)
        figures = [*self.metrics.items(), (self.score.curve, self.perceptual_distance)]
        self.log_dict(
            {f"{split}/{name}": metric for name, metric in figures}, batch_size=len(video)
        )
        return reconstructed

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores 1 / standard deviation of the latent as the autoencoder's `scaling_factor`."""
        if self.latent_variance.isfinite():
            self.autoencoder.scaling_factor = float(self.latent_variance.rsqrt())
        super().on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the measured `scaling_factor` back."""
        super().on_load_checkpoint(checkpoint)
        self.autoencoder.scaling_factor = checkpoint["components"]["autoencoder"]["config"][
            "scaling_factor"
        ]


def _pairs(video: Tensor, reconstructed: Tensor) -> Tensor:
    """The middle frame of each clip above its reconstruction."""
    middle = video.shape[1] // 2
    return contact_sheet(
        {"truth": video[:, middle], "reconstruction": reconstructed[:, middle]}, columns=8
    )
