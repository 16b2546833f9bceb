"""Stage 3: decoding with flow-aligned features, trained as a GAN (MoVideo Eq. 14 to 18)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from movideo.clips.batch import ClipBatch, split_batch
from movideo.diffusion import drop_mask
from movideo.errors import UserError
from movideo.hub.needs import WeightSpec
from movideo.losses import AdversarialLoss, L1Loss, VideoLoss
from movideo.metrics import PSNR, KeyFrameWarpError, RandomFeatureDistance, VideoMetric
from movideo.models import FlowAugmentedDecoder, FrameDecoder, VideoAutoencoder, VideoDecoder
from movideo.models.decoder import load_decoder
from movideo.motion.condition import coarse_flow
from movideo.motion.labels import label_motion
from movideo.motion.noise import MotionNoise
from movideo.motion.space import Motion, MotionSpace
from movideo.ops import resize_flow
from movideo.visualization.clips import decoder_visualization
from stages.adversarial import AdversarialStage
from stages.base import ParameterGroups
from stages.metric_rows import TRUTH, MetricRows, measured
from stages.randomness import training_randomness


class FlowDecoderGAN(AdversarialStage):
    """Trains a video decoder over a frozen encoder.

    Args:
        autoencoder: frozen; the decoder starts from its weights.
        decoder: the class of the decoder, made from the autoencoder: `FlowAugmentedDecoder`,
            `TemporalDecoder` or `FrameDecoder`.
        l1: the pixel term.
        perceptual_2d: the perceptual term of frames; None for none.
        perceptual_3d: the perceptual term of video; None for none.
        adversarial_2d: the GAN term that judges frames; None for none.
        adversarial_3d: the GAN term that judges video; None for none.
        losses: further terms, by name.
        metrics: of tests; by default PSNR, the distance of random features and the departure from
            the motion.
        motion_grid: `(h, w)` of stage 1: its motion is as coarse as that. `export` refuses another.
        coarse_motion: probability that a clip is decoded along motion passed through the motion
            grid, as generated motion is.
        motion_noise: the errors of that motion, in training; none by default, as in the paper.
        spatial_lr_factor: the learning rate of the 2-D decoder's layers, as a share of that of the
            new ones.
        baselines: checkpoints of this stage, or models, whose decoders `movideo test` measures
            beside this one, by the name of their row.
        visualized_clips: clips of the first validation batch that are drawn.
        seed: of what is drawn in training.
        ema_decay: see `Stage`.
        kwargs: see `AdversarialStage`.
    """

    weight_spec = WeightSpec(
        checkpoints={"init_from": "movideo fit", "baselines": "movideo fit --config stage3.yaml"}
    )

    model_role = "decoder"

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        decoder: Callable[[VideoAutoencoder], VideoDecoder] = FlowAugmentedDecoder,
        l1: VideoLoss | None = None,
        perceptual_2d: VideoLoss | None = None,
        perceptual_3d: VideoLoss | None = None,
        adversarial_2d: AdversarialLoss | None = None,
        adversarial_3d: AdversarialLoss | None = None,
        losses: dict[str, VideoLoss] | None = None,
        metrics: list[VideoMetric] | None = None,
        motion_grid: tuple[int, int] = (32, 32),
        coarse_motion: float = 0.5,
        motion_noise: MotionNoise | None = None,
        spatial_lr_factor: float = 1.0,
        baselines: dict[str, str] | None = None,
        visualized_clips: int = 2,
        seed: int = 0,
        ema_decay: float | None = 0.999,
        **kwargs: Any,
    ) -> None:
        plain = {
            "l1": l1 or L1Loss(),
            "perceptual_2d": perceptual_2d,
            "perceptual_3d": perceptual_3d,
            **(losses or {}),
        }
        adversarial = {"2d": adversarial_2d, "3d": adversarial_3d}
        super().__init__(
            {name: loss for name, loss in plain.items() if loss is not None},
            {name: loss for name, loss in adversarial.items() if loss is not None},
            ema_decay=ema_decay,
            **kwargs,
        )
        self.autoencoder = autoencoder
        self.decoder = decoder(autoencoder)
        self.motion_grid = motion_grid
        self.coarse_motion = coarse_motion
        self.motion_noise = motion_noise or MotionNoise()
        self.spatial_lr_factor = spatial_lr_factor
        self.baseline_checkpoints = baselines or {}
        # What other decoders make of the same latents; the first row is the one all start from.
        self.baselines = nn.ModuleDict({FrameDecoder.label: FrameDecoder(autoencoder)})
        self.metrics = MetricRows(metrics or [PSNR(), RandomFeatureDistance(), KeyFrameWarpError()])
        self.visualized_clips = visualized_clips
        self.seed = seed
        self.freeze_parts("autoencoder", "losses", "baselines", "metrics")

    @property
    def generator(self) -> nn.Module:
        """The decoder."""
        return self.decoder

    @property
    def last_layer(self) -> nn.Parameter:
        """The decoder's last weight."""
        return self.decoder.last_layer

    def components(self) -> dict[str, object]:
        """The decoder, and what it was trained over."""
        return {
            "decoder": self.decoder,
            "autoencoder": self.autoencoder,
            "motion_space": MotionSpace(self.motion_grid),
        }

    def parameter_groups(self) -> ParameterGroups:
        """Layers of the 2-D decoder at a share of the learning rate, new ones at the full rate."""
        return [
            (self.decoder.spatial_parameters(), self.spatial_lr_factor),
            (self.decoder.new_parameters(), 1.0),
        ]

    # ----------------------------------------------------------------------------------- decoding

    def prepare(self, batch: ClipBatch, batch_idx: int) -> ClipBatch:
        """Passes the flow of some clips through the motion grid."""
        randomness = training_randomness(self.trainer, self.seed, len(batch["video"]), batch_idx)
        coarse = drop_mask(randomness.uniform("coarse", self.device), self.coarse_motion)
        motion = Motion(batch["depth"], batch["flow_i2v"], batch["flow_v2i"])
        motion = self.motion_noise(motion, batch["key_index"], coarse, randomness)
        size = _size(batch)
        grid = MotionSpace(self.motion_grid).grid_of(size)
        flow = coarse_flow(motion.flow_i2v, grid, size, coarse)
        return {**batch, "flow_i2v": flow}

    def decode(self, batch: ClipBatch) -> Tensor:
        """The clips, encoded and decoded again along their flow, `(B, F, 3, H, W)`."""
        return self._decode_with(self.decoder, batch)

    def _decode_with(self, decoder: nn.Module, batch: ClipBatch) -> Tensor:
        with torch.no_grad():
            z = self.autoencoder.encode(batch["video"])
        flow_i2v = resize_flow(batch["flow_i2v"], _size(batch))
        video: Tensor = decoder(z, flow_i2v, batch["key_index"])
        return video

    # --------------------------------------------------------------------------------- evaluation

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The plain terms along the label's flow, and pictures of the first batch."""
        decoded = []
        with self.averaged_weights():
            for clip in split_batch(batch, 1):
                terms = self.terms(clip, active=())
                values = {"loss": self.total(terms, {}), **self.curves(terms)}
                self.validation_means.add(
                    clip["name"], {name: value[None] for name, value in values.items()}
                )
                decoded.append(terms.decoded[0])
        shown = min(self.visualized_clips, len(decoded)) if self.visualization_loggers() else 0
        if batch_idx == 0 and shown and self.global_rank == 0:
            plain = self._decode_with(self.baselines[FrameDecoder.label], batch)
            for i in range(shown):
                rows = {FrameDecoder.label: plain[i], self.row: decoded[i]}
                self.log_visualization(
                    f"val/decoded_{i}", decoder_visualization(batch["video"][i], rows)
                )

    @property
    def row(self) -> str:
        """What this decoder's row is called."""
        label = self.decoder.label
        return f"{label} fine-tuned" if label in self.baselines else label

    def setup(self, stage: str) -> None:
        """As of every stage; for a test also loads the baselines.

        Raises:
            UserError: a baseline is no decoder, or decodes other latents.
        """
        super().setup(stage)
        for name, path in self.baseline_checkpoints.items() if stage == "test" else ():
            if name in (*self.baselines, self.row):
                raise UserError(f"model.baselines: {name!r} is a row already; choose another name")
            decoder = load_decoder(path, self.autoencoder)
            self.baselines[name] = decoder.eval().requires_grad_(False)

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The rows of MoVideo Table 5: every decoder on the same latents and flow."""
        videos = {
            name: self._decode_with(decoder, batch) for name, decoder in self.baselines.items()
        }
        with self.averaged_weights():
            videos[self.row] = self.decode(batch)
        motion = label_motion(batch)
        rows = {TRUTH: batch["video"], **videos}
        self.metrics.update({row: measured(batch, video, motion) for row, video in rows.items()})

    def on_test_epoch_end(self) -> None:
        """Reports the metrics over all test clips, one row a decoder."""
        for row, values in self.metrics.compute().items():
            self.log_dict({f"test/{row}/{key}": value for key, value in values.items()})
        self.metrics.reset()


def _size(batch: ClipBatch) -> tuple[int, int]:
    return batch["video"].shape[-2], batch["video"].shape[-1]
