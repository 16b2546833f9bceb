"""Stage 0: the latent autoencoder, for those who bring no pretrained one."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from movideo.clips.batch import ClipBatch, split_batch
from movideo.diffusion import SampleRandomness, drop_mask
from movideo.losses import FramePerceptualLoss
from movideo.metrics import PSNR, SSIM, RandomFeatureDistance, VideoMetric
from movideo.models import VideoAutoencoder
from movideo.ops import resize_flow, warp
from movideo.visualization.contact_sheet import contact_sheet
from stages.base import Stage
from stages.metric_rows import OWN, MetricRows, measured_frames
from stages.randomness import training_randomness
from stages.schedules import WarmupCosine

# Of a random flow: shifts as shares of the sides, radians, logarithm of the zoom.
MOST = (0.2, 0.2, 0.15, 0.15)
VARIANCE_MOMENTUM = 0.98  # the latent's spread, over about the last fifty steps


class LatentAutoencoder(Stage):
    """Trains an `AutoencoderKL` on single frames and measures its latent's scale.

    Args:
        autoencoder: trained here.
        reconstruction: the pixel loss, of decoded and true frames `(N, 3, H, W)` in [-1, 1].
        perceptual: a further loss, of what a network sees in the frames; none by default.
        kl_weight: weight of the posterior's divergence from a standard normal, summed over the
            latent.
        moved: probability that a clip's latent is moved before it is decoded, and has to give the
            moved frames: MoVideo Eq. 12 warps latents, and those of an autoencoder that has never
            seen that do not move as pictures do. 0 by default, as in the paper.
        optimizer: see `Stage`.
        lr_scheduler: see `Stage`.
        init_from: see `Stage`.
        metrics: of validation and tests, every frame a clip; by default PSNR, SSIM and the distance
            of random features.
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
        moved: float = 0.0,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable = WarmupCosine,
        init_from: str | None = None,
        metrics: list[VideoMetric] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, ema_decay=None, init_from=init_from)
        self.autoencoder = autoencoder
        self.reconstruction = reconstruction or nn.L1Loss()
        self.perceptual = perceptual
        self.kl_weight = kl_weight
        self.moved = moved
        self.seed = seed
        self.register_buffer("latent_variance", torch.tensor(float("nan")))
        self.metrics = MetricRows(metrics or [PSNR(), SSIM(), RandomFeatureDistance()])
        self.freeze_parts("metrics", *(["perceptual"] if perceptual else []))

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
            if self.moved:
                latents, frames = self._move(latents, frames, randomness)
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

    def _move(
        self, latents: Tensor, frames: Tensor, randomness: SampleRandomness
    ) -> tuple[Tensor, Tensor]:
        """Both along one random flow a clip, where it is drawn, as a latent is warped by Eq. 12."""
        flow = random_flow(randomness, (frames.shape[-2], frames.shape[-1]), self.device)
        still = ~drop_mask(randomness.uniform("moved", self.device), self.moved)
        flow = flow.masked_fill(still[:, None, None, None], 0.0)
        flow = flow.repeat_interleave(len(frames) // len(flow), dim=0)
        on_latents = resize_flow(flow, (latents.shape[-2], latents.shape[-1]))
        return warp(latents, on_latents), warp(frames, flow)

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
        """The loss without the posterior's noise, and the metrics of a test.

        Of the first batch also pictures.
        """
        for clip in split_batch(batch, 1):
            terms = self._step(clip, None)
            self.validation_means.add(
                clip["name"], {name: value[None] for name, value in terms.items()}
            )
        reconstructed = self._evaluate(batch)
        if batch_idx == 0:
            self.log_visualization("val/reconstruction", _pairs(batch["video"], reconstructed))

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Reconstructs every frame."""
        self._evaluate(batch)

    def _evaluate(self, batch: ClipBatch) -> Tensor:
        video = batch["video"]
        reconstructed = self.autoencoder.decode(self.autoencoder.encode(video)).clamp(-1, 1)
        self.metrics.update({OWN: measured_frames(batch, reconstructed)})
        return reconstructed

    def on_validation_epoch_end(self) -> None:
        """Reports the losses and the metrics over all validation clips."""
        super().on_validation_epoch_end()
        self._report("val")

    def on_test_epoch_end(self) -> None:
        """Reports the metrics over all test clips."""
        self._report("test")

    def _report(self, split: str) -> None:
        for values in self.metrics.compute().values():
            self.log_dict({f"{split}/{key}": value for key, value in values.items()})
        self.metrics.reset()

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


def random_flow(
    randomness: SampleRandomness, size: tuple[int, int], device: torch.device
) -> Tensor:
    """Flow of frames that are shifted, rolled and zoomed at random, `(B, 2, H, W)`, in pixels."""
    height, width = size
    right, down, roll, zoom = (
        (2 * randomness.uniform(name, device) - 1)[:, None, None] * most
        for name, most in zip(("right", "down", "roll", "zoom"), MOST, strict=True)
    )
    ys, xs = torch.meshgrid(
        torch.arange(height, device=device) - (height - 1) / 2,
        torch.arange(width, device=device) - (width - 1) / 2,
        indexing="ij",
    )
    cosine, sine = zoom.exp() * roll.cos(), zoom.exp() * roll.sin()
    dx = cosine * xs - sine * ys - xs + right * width
    dy = sine * xs + cosine * ys - ys + down * height
    return torch.stack([dx, dy], dim=1)


def _pairs(video: Tensor, reconstructed: Tensor) -> Tensor:
    """The middle frame of each clip above its reconstruction."""
    middle = video.shape[1] // 2
    return contact_sheet(
        {"truth": video[:, middle], "reconstruction": reconstructed[:, middle]}, columns=8
    )
