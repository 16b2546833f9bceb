"""Stage 1: depth and both flows from one image (MoVideo Eq. 6 to 10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from movideo.clips.batch import ClipBatch, key_frames, reach
from movideo.diffusion import Denoiser, SampleRandomness, drop_mask, sample_generator
from movideo.errors import UserError
from movideo.hub.checkpoint import build, class_path, describe
from movideo.hub.model_folder import starting_point
from movideo.metrics import DepthError, EndPointError, FlowCosine, VideoMetric
from movideo.motion.key_frame import KeyFrameCondition
from movideo.motion.scale import FlowScale
from movideo.motion.space import Motion, MotionSpace
from movideo.motion.visibility import TolerantConsistency
from movideo.ops import normalize_flow, resize_flow
from movideo.visualization.clips import motion_visualization
from stages.clip_means import ClipMeans
from stages.diffusion import DiffusionStage, check_kind
from stages.encodings import key_tokens
from stages.metric_rows import OWN, MetricRows, measured


class DepthFlowDiffusion(DiffusionStage):
    """Generates a clip's depth and flows from its key frame.

    Args:
        motion_grid: `(h, w)` that motion is generated on; stage 2's latent grid, doubled until both
            sides reach 32, is the usual choice.
        motion_space: the class of the space that motion is generated in, made from the grid.
        key_frame: what the network sees of the key frame beside its tokens: nothing by default, as
            in the paper; `KeyFrameOnGrid` shows where things are, and needs three more input
            channels of the network.
        flow_scale: predicts how far things move, and is trained to; by default it is recovered from
            depth alone, as in the paper. `PredictedFlowScale` needs a network that `takes_scale`.
        scale_drop: probability that a clip is trained without being told its scale.
        train_image_encoder: train the image encoder too, as the run that makes the embedded one
            does.
        metrics: of tests; by default the errors of flow and depth.
        kwargs: see `DiffusionStage`.
    """

    model_role = "motion"

    def __init__(
        self,
        motion_grid: tuple[int, int] = (32, 32),
        motion_space: Callable[[tuple[int, int]], MotionSpace] = MotionSpace,
        key_frame: KeyFrameCondition | None = None,
        flow_scale: FlowScale | None = None,
        scale_drop: float = 0.1,
        train_image_encoder: bool = False,
        metrics: list[VideoMetric] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.motion_space = motion_space(motion_grid)
        self.key_frame = key_frame or KeyFrameCondition()
        self.flow_scale = flow_scale or FlowScale()
        self.scale_drop = scale_drop
        if self.key_frame.needs_picture:
            self.encoders = ()  # it sees more of the video than encoders make of it
        self.metrics = MetricRows(metrics or [EndPointError(), FlowCosine(), DepthError()])
        self.freeze_parts("metrics", *([] if train_image_encoder else ["image_encoder"]))
        self.scale_errors = ClipMeans()

    def components(self) -> dict[str, object]:
        """The network, its scheduler, and the space it works in."""
        return {
            "unet": self.unet,
            "image_encoder": self.image_encoder,
            "noise_scheduler": self.noise_scheduler,
            "motion_space": self.motion_space,
            "key_frame": self.key_frame,
            "flow_scale": self.flow_scale,
        }

    def setup(self, stage: str) -> None:
        """Measures the spread of the training labels, once, before the first step.

        Weights of another run go on in the space that they were trained in.

        Raises:
            UserError: as in `Stage`; that space has another grid; or the network does not take what
                it is shown.
        """
        super().setup(stage)
        self._check_network()
        own = type(self.motion_space)
        start = self.init_from and starting_point(self.init_from, self.role())
        if start and start.class_path("motion_space") == class_path(own):
            self._go_on_in(start.component("motion_space", own), str(self.init_from))
        elif stage == "fit":
            found = self.trainer.datamodule.label_statistics(self.motion_space)  # type: ignore[attr-defined]
            self.motion_space = self.motion_space.scaled(
                found.depth_mean, found.depth_std, found.flow_std
            )
            self.flow_scale.fit_law(found.scale_law)

    def on_fit_start(self) -> None:
        """As of every stage; the model will know where the key frames that it saw stood."""
        super().on_fit_start()
        data: Any = getattr(self.trainer, "datamodule", None)
        self.key_frame = self.key_frame.trained(getattr(data, "has_key_frames_anywhere", False))

    def _check_network(self) -> None:
        """Whether it takes what it is shown, and the scale that it is told."""
        known = "log_scale" in signature(self.unet.forward).parameters
        if self.flow_scale.predicts and not (known and self.unet.config.get("takes_scale", True)):
            raise UserError(
                f"model.flow_scale: {type(self.flow_scale).__name__} predicts scales to tell the "
                f"network, but {type(self.unet).__name__} takes none: "
                f"{'set model.unet.takes_scale true' if known else 'its forward has no log_scale'}"
                ", or give movideo.motion.scale.FlowScale"
            )
        motion, picture = self.motion_space.channels, self.key_frame.channels
        takes = self.unet.config.get("in_channels", motion + picture)
        if takes != motion + picture:
            raise UserError(
                f"model.unet.in_channels: {takes}, but it is shown {motion} channels of motion and "
                f"{picture} of the key frame; give {motion + picture}, or another model.key_frame"
            )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes back the spread that the weights were trained with.

        Raises:
            UserError: as in `Stage`; or they were trained on another grid.
        """
        super().on_load_checkpoint(checkpoint)
        space = build(checkpoint["components"]["motion_space"], chosen=type(self.motion_space))
        self._go_on_in(space, str(self.trainer.ckpt_path))

    def _go_on_in(self, space: MotionSpace, where: str) -> None:
        if tuple(space.grid) != tuple(self.motion_space.grid):
            raise UserError(
                f"model.motion_grid: {list(self.motion_space.grid)}, but {where} was "
                f"trained on {list(space.grid)}; give that"
            )
        self.motion_space = space

    def check_parts(self, described: dict[str, Any], where: str) -> None:
        """As of stage 2; the weights must also have been trained in a space of the same kind."""
        super().check_parts(described, where)
        check_kind(self.motion_space, described["motion_space"], f"{where}: model.motion_space")
        learnt = described.get("key_frame") or describe(KeyFrameCondition(), frozen=False)
        check_kind(self.key_frame, learnt, f"{where}: model.key_frame")
        learnt = described.get("flow_scale") or describe(FlowScale(), frozen=False)
        check_kind(self.flow_scale, learnt, f"{where}: model.flow_scale")

    def target(self, batch: ClipBatch) -> Tensor:
        """Normalised depth and flows on the motion grid, `(B, F, 5, h, w)`."""
        return self.motion_space.encode(batch["depth"], batch["flow_i2v"], batch["flow_v2i"])

    def encoded(self, batch: ClipBatch) -> ClipBatch:
        """With the key frame's tokens, which are attended to and may be shown on the grid.

        And with the true scale where the network is told one.
        """
        batch = {**batch, "tokens": key_tokens(batch, self.image_encoder)}
        if self.flow_scale.predicts:
            scale = self.motion_space.log_scale(batch["flow_i2v"], batch["flow_v2i"])
            batch["log_scale"] = scale
        return batch

    def other_losses(self, batch: ClipBatch) -> dict[str, Tensor]:
        """That of the predicted scale: its negative log-likelihood."""
        if not self.flow_scale.predicts:
            return {}
        loss = self.flow_scale.losses(batch["tokens"], self._reach(batch), batch["log_scale"])
        return {} if loss is None else {"scale_nll": loss}

    def _reach(self, batch: ClipBatch) -> Tensor:
        return reach(batch["key_index"], batch["depth"].shape[1], batch["fps"])

    def denoiser(
        self,
        batch: ClipBatch,
        condition: Tensor | None,
        randomness: SampleRandomness | None = None,
    ) -> Denoiser:
        """As of every diffusion; the network is told the scale, in training not always."""
        told = batch.get("log_scale")
        if told is not None and randomness is not None:
            dropped = drop_mask(randomness.uniform("scale", self.device), self.scale_drop)
            told = told.masked_fill(dropped, torch.nan)
        return replace(super().denoiser(batch, condition, randomness), log_scale=told)

    def condition(self, batch: ClipBatch, randomness: SampleRandomness | None) -> Tensor | None:
        """The key frame, as `key_frame` shows it."""
        key, frames = batch["key_index"], batch["depth"].shape[1]
        image = key_frames(batch["video"], key) if self.key_frame.needs_picture else None
        grid = self.motion_space.grid_of(batch["depth"].shape[-2:])
        return self.key_frame(image, batch["tokens"], key, frames, grid)

    def generate(self, batch: ClipBatch) -> Motion:
        """Motion at the clips' resolution, from their key frames and fps alone."""
        batch = self.encoded(batch)
        generators = [sample_generator(self.seed, f"scale/{name}") for name in batch["name"]]
        drawn = self.flow_scale.draw(batch["tokens"], self._reach(batch), generators)
        if drawn is not None:
            batch["log_scale"] = drawn.log_scale
        condition = self.condition(batch, None)
        grid = self.motion_space.grid_of(batch["depth"].shape[-2:])
        sample = self.sample(batch, condition, self.motion_space.channels, grid)
        height, width = batch["video"].shape[-2:]
        motion = self.motion_space.decode(
            sample, batch["key_index"], (height, width), None if drawn is None else drawn.bounds
        )
        return replace(motion, visibility=TolerantConsistency())

    def draw(self, batch: ClipBatch) -> None:
        """One sheet a clip: the label's motion and the generated one."""
        generated = self.generate(batch)
        for i in range(len(batch["video"])):
            self.log_visualization(f"val/motion_{i}", motion_visualization(batch, generated, i))

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Errors of generated motion (beside no motion), and of the scale that Eq. 10 recovers."""
        with self.averaged_weights():
            generated = self.generate(batch)
        zero = torch.zeros_like(generated.flow_i2v)
        still = Motion(generated.depth, zero, zero)
        # There is no video of this motion: the true one stands in its place.
        self.metrics.update(
            {
                OWN: measured(batch, batch["video"], generated),
                "still": measured(batch, batch["video"], still),
            }
        )
        self.scale_errors.add(batch["name"], {"test/scale_error": self._scale_errors(batch)})

    def on_test_epoch_end(self) -> None:
        """Reports the metrics over all test clips."""
        self.log_dict({**self.metrics.logged(), **self.scale_errors.compute()})
        self.metrics.reset()

    def _scale_errors(self, batch: ClipBatch) -> Tensor:
        """Relative error `(B,)` of the recovered scale on the label's motion; NaN without any."""
        grid = self.motion_space.grid_of(batch["flow_i2v"].shape[-2:])
        flow_i2v, flow_v2i = (resize_flow(batch[k], grid) for k in ("flow_i2v", "flow_v2i"))
        *_, true = self.motion_space.normalize_flow(flow_i2v, flow_v2i)
        decoded = self.motion_space.decode(self.target(batch), batch["key_index"], grid)
        *_, found = normalize_flow(decoded.flow_i2v, decoded.flow_v2i)
        return (found - true).abs() / true.where(true > 0, torch.nan)
