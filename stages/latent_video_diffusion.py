"""Stage 2: the latent video under given motion (MoVideo Eq. 11 to 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from movideo.clips.batch import ClipBatch
from movideo.diffusion import SampleRandomness, drop_mask
from movideo.errors import UserError
from movideo.hub.checkpoint import describe
from movideo.hub.needs import WeightSpec
from movideo.metrics import PSNR, VideoMetric
from movideo.models import FrameDecoder, VideoAutoencoder
from movideo.models.decoder import load_decoder
from movideo.motion.condition import ConditionTransform, MotionCondition, motion_condition
from movideo.motion.labels import label_motion
from movideo.motion.noise import MotionNoise
from movideo.motion.space import Motion, MotionSpace
from movideo.motion.visibility import TolerantConsistency, Visibility
from movideo.ops import resize_flow
from movideo.visualization.clips import video_visualization
from stages.base import ParameterGroups
from stages.diffusion import DiffusionStage, check_kind
from stages.encodings import key_latent, latents
from stages.metric_rows import MetricRows, generation_metrics, generation_rows, measured


class LatentVideoDiffusion(DiffusionStage):
    """Generates the latent video of a key frame under depth, warped latent and visible mask.

    Args:
        autoencoder: frozen.
        motion_grid: `(h, w)` of stage 1: its motion is as coarse as that. `export` refuses another.
        motion_space: stage 1's, which says how depth is normalised. `export` refuses another.
        condition_transform: what the network is shown of its condition; all of it by default.
        motion_noise: the errors of motion that passed through the motion grid, in training, and
            what the network is told of them; none by default, as in the paper.
        visibility: the rule by which motion that passed through the motion grid, as generated
            motion has, says what the key frame shows; exact labels are judged by Eq. 11.
        warped_latent_drop: probability that a clip is trained without the warped latent, so that
            the network does not copy the flow's mistakes. The mask stays.
        coarse_motion: probability that a clip is trained on motion passed through the motion grid,
            as generated motion is.
        spatial_lr_factor: the learning rate of layers that come from a pretrained 2-D network, as a
            share of the others'.
        decoder_checkpoint: a checkpoint of stage 3, or a model, to decode with at validation and
            test; None decodes with the autoencoder's own decoder.
        metrics: of tests; by default `stages.metric_rows.generation_metrics`.
        kwargs: see `DiffusionStage`.
    """

    weight_spec = WeightSpec(
        checkpoints={
            "init_from": "movideo fit",
            "decoder_checkpoint": "movideo fit --config stage3.yaml",
        }
    )

    model_role = "video"
    encoders = ("image_encoder", "autoencoder")

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        motion_grid: tuple[int, int] = (32, 32),
        motion_space: Callable[[tuple[int, int]], MotionSpace] = MotionSpace,
        condition_transform: ConditionTransform | None = None,
        motion_noise: MotionNoise | None = None,
        visibility: Visibility | None = None,
        warped_latent_drop: float = 0.5,
        coarse_motion: float = 0.5,
        spatial_lr_factor: float = 0.1,
        decoder_checkpoint: str | None = None,
        metrics: list[VideoMetric] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autoencoder = autoencoder
        self.decoder = (
            FrameDecoder(autoencoder)
            if decoder_checkpoint is None
            else load_decoder(decoder_checkpoint, autoencoder)
        )
        self.motion_space = motion_space(motion_grid)
        self.condition_transform = condition_transform or ConditionTransform()
        self.motion_noise = motion_noise or MotionNoise()
        self.visibility = visibility or TolerantConsistency()
        self.warped_latent_drop = warped_latent_drop
        self.coarse_motion = coarse_motion
        self.spatial_lr_factor = spatial_lr_factor
        self.metrics = MetricRows(metrics or generation_metrics())
        self.freeze_parts("image_encoder", "autoencoder", "decoder", "metrics")
        self.ceiling = PSNR()

    def components(self) -> dict[str, object]:
        """The network, its scheduler, and what it was trained over."""
        return {
            "unet": self.unet,
            "image_encoder": self.image_encoder,
            "noise_scheduler": self.noise_scheduler,
            "autoencoder": self.autoencoder,
            "motion_space": self.motion_space,
            "condition_transform": self.condition_transform,
            "motion_noise": self.motion_noise,
            "visibility": self.visibility,
        }

    def check_parts(self, described: dict[str, Any], where: str) -> None:
        """As of stage 1; the weights must also have been trained under the same condition."""
        super().check_parts(described, where)
        check_kind(self.motion_space, described["motion_space"], f"{where}: model.motion_space")
        learnt = described.get("condition_transform") or describe(
            ConditionTransform(), frozen=False
        )
        check_kind(self.condition_transform, learnt, f"{where}: model.condition_transform")
        learnt = described.get("motion_noise") or describe(MotionNoise(), frozen=False)
        check_kind(self.motion_noise, learnt, f"{where}: model.motion_noise")

    def setup(self, stage: str) -> None:
        """As of every diffusion.

        Raises:
            UserError: likewise; or the network does not take what it is shown.
        """
        super().setup(stage)
        latent, told = self.autoencoder.latent_channels, self.motion_noise.channels
        shown = latent + 1 + latent + 1 + told
        if self.unet.config.get("in_channels", shown) != shown:
            raise UserError(
                f"model.unet.in_channels: {self.unet.config['in_channels']}, but it is shown "
                f"{latent} channels of the noisy latent, {shown - latent} of the condition; give "
                f"{shown}, or another model.motion_noise"
            )

    def parameter_groups(self) -> ParameterGroups:
        """Layers of the 2-D network at a share of the learning rate, new ones at the full rate."""
        return [
            (self.unet.spatial_parameters(), self.spatial_lr_factor),
            (self.unet.new_parameters(), 1.0),
        ]

    def encoded(self, batch: ClipBatch) -> ClipBatch:
        """With the latent video, which is the target and holds the key frame's latent."""
        return {**batch, "latents": latents(batch, self.autoencoder)}

    def target(self, batch: ClipBatch) -> Tensor:
        """The latent video, `(B, F, c, h, w)`."""
        return latents(batch, self.autoencoder)

    def motion_condition(
        self,
        batch: ClipBatch,
        coarse: Tensor | None,
        randomness: SampleRandomness | None = None,
    ) -> MotionCondition:
        """The condition under the label's motion, as generated motion is where `coarse (B,)`.

        There it passes through the motion grid, and with randomness has errors.
        """
        motion = Motion(batch["depth"], batch["flow_i2v"], batch["flow_v2i"])
        if coarse is not None and randomness is not None:
            motion = self.motion_noise(motion, batch["key_index"], coarse, randomness)
        latent = key_latent(batch, self.autoencoder)
        height, width = latent.shape[-2:]
        factor = self.autoencoder.downscale_factor
        condition = motion_condition(
            motion,
            latent,
            size=(factor * height, factor * width),
            motion_space=self.motion_space,
            coarse=coarse,
            coarse_visibility=self.visibility,
            with_level=self.motion_noise.channels > 0,
        )
        return self.condition_transform(condition)

    def condition(self, batch: ClipBatch, randomness: SampleRandomness | None) -> Tensor:
        """Depth, warped latent and mask, `(B, F, 1 + c + 1, h, w)`, and their level if told."""
        if randomness is None:
            return self.motion_condition(batch, coarse=None).channels()
        coarse = drop_mask(randomness.uniform("coarse", self.device), self.coarse_motion)
        dropped = drop_mask(
            randomness.uniform("warped latent", self.device), self.warped_latent_drop
        )
        shown = self.motion_condition(batch, coarse, randomness)
        return shown.without_warped_latent(dropped).channels()

    def weaker(self, condition: Tensor | None) -> Tensor | None:
        """Without the warped latent; the mask stays, as in training."""
        assert condition is not None
        weaker = condition.clone()
        weaker[:, :, 1 : 1 + self.autoencoder.latent_channels] = 0
        return weaker

    def generate(self, batch: ClipBatch) -> Tensor:
        """The video `(B, F, 3, H, W)` under the label's motion."""
        height, width = batch["video"].shape[-2:]
        latent_size = self.autoencoder.latent_size((height, width))
        condition = self.condition(batch, None)
        sampled = self.sample(batch, condition, self.autoencoder.latent_channels, latent_size)
        return self._decode(sampled, batch)

    def _decode(self, z: Tensor, batch: ClipBatch) -> Tensor:
        """Latents of the clips as a video in [-1, 1]."""
        size = (batch["video"].shape[-2], batch["video"].shape[-1])
        flow_i2v = resize_flow(batch["flow_i2v"], size)  # labels may lie on a smaller grid
        video: Tensor = self.decoder(z, flow_i2v, batch["key_index"])
        return video.clamp(-1, 1)

    def draw(self, batch: ClipBatch) -> None:
        """One sheet a clip: truth, motion, mask, warped key frame and result."""
        generated = self.generate(batch)
        for i in range(len(generated)):
            self.log_visualization(f"val/video_{i}", video_visualization(batch, generated, i))

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Videos under the label's motion, beside no network at all, and what decoding allows.

        Warping passes through the autoencoder as well, whose losses are no fault of the network's.
        """
        with self.averaged_weights():
            generated = self.generate(batch)
        motion = label_motion(batch)
        rows = generation_rows(batch, generated, motion)
        warped = self._decode(self.autoencoder.encode(rows["warp"].video), batch)
        rows["warp_reconstructed"] = measured(batch, warped, motion)
        self.metrics.update(rows)
        self.ceiling.update(measured(batch, self._decode(self.target(batch), batch), motion))

    def on_test_epoch_end(self) -> None:
        """Reports the metrics over all test clips."""
        self.log_dict({**self.metrics.logged(), "test/psnr_reconstructed": self.ceiling.compute()})
        self.metrics.reset()
        self.ceiling.reset()
