"""What stages 1 and 2 share: one denoising step, its randomness, and sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from diffusers import SchedulerMixin
from torch import Tensor

from movideo.clips.batch import ClipBatch
from movideo.diffusion import (
    ClassifierFreeGuidance,
    Denoiser,
    Guidance,
    LossWeighting,
    SampleRandomness,
    TimestepSampling,
    UniformTimesteps,
    UniformWeighting,
    check_solver,
    contradicted,
    differing_noise,
    diffusion_loss,
    drop_mask,
    num_train_timesteps,
    sample_generator,
)
from movideo.errors import UserError
from movideo.hub.checkpoint import build, class_path, current_path
from movideo.models import Backbone, ImageEncoder
from stages.base import Stage
from stages.encodings import key_tokens
from stages.randomness import training_randomness


class DiffusionStage(Stage):
    """Trains a UNet to denoise clips, given the key frame's tokens and fps (MoVideo Eq. 5).

    A subclass says what is denoised (`target`) and what is concatenated to it (`condition`).

    Args:
        unet: the denoising network, trained here.
        image_encoder: gives the key frame's tokens.
        noise_scheduler: a diffusers scheduler: noise levels, prediction type, and the solver at
            inference.
        weighting: of the loss over noise levels.
        timestep_sampling: which noise levels are trained how often; all alike by default.
        guidance: of the samples drawn at validation and test.
        token_drop: probability that a clip is trained without tokens, for classifier-free guidance.
        num_inference_steps: of the samples drawn at validation and test; by default as many as the
            solver needs.
        visualized_clips: clips of the first validation batch that are sampled and drawn.
        seed: of noise, timesteps and drops.
        kwargs: see `Stage`.
    """

    encoders: tuple[str, ...] = ("image_encoder",)

    def __init__(
        self,
        unet: Backbone,
        image_encoder: ImageEncoder,
        noise_scheduler: SchedulerMixin,
        weighting: LossWeighting | None = None,
        timestep_sampling: TimestepSampling | None = None,
        guidance: Guidance | None = None,
        token_drop: float = 0.1,
        num_inference_steps: int | None = None,
        visualized_clips: int = 2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_solver(noise_scheduler)
        self.unet = unet
        self.image_encoder = image_encoder
        self.noise_scheduler = noise_scheduler
        self.weighting = weighting or UniformWeighting()
        self.timestep_sampling = timestep_sampling or UniformTimesteps()
        self.guidance = guidance or ClassifierFreeGuidance()
        self.token_drop = token_drop
        self.num_inference_steps = num_inference_steps
        self.visualized_clips = visualized_clips
        self.seed = seed

    def setup(self, stage: str) -> None:
        """As of every stage; a pretrained network also keeps the noise that it was trained on.

        Raises:
            UserError: as in `Stage`; or it was trained on other noise, or to predict other things.
        """
        super().setup(stage)
        learnt = self.unet.learnt_noise if stage == "fit" and not self.allow_other_parts else {}
        for name in contradicted(self.noise_scheduler, learnt):
            raise UserError(
                f"model.noise_scheduler.{name}: {self.noise_scheduler.config[name]}, but model.unet"
                f" was trained with {learnt[name]}, says its scheduler/ folder; set that, or adapt "
                "it with --model.allow_other_parts true"
            )

    def check_parts(self, described: dict[str, Any], where: str) -> None:
        """As of every stage; the weights must also know this noise, and predict the same of it."""
        super().check_parts(described, where)
        learnt = build(described["noise_scheduler"], chosen=type(self.noise_scheduler))
        for name in differing_noise(self.noise_scheduler, learnt):
            there, here = (s.config.get(name) for s in (learnt, self.noise_scheduler))
            raise UserError(
                f"{where}: trained with {name} {there}, but model.noise_scheduler has {here}; "
                f"set {there}, or start with --model.init_from and --model.allow_other_parts true "
                "to adapt"
            )

    # ------------------------------------------------------------------------------ to be defined

    def target(self, batch: ClipBatch) -> Tensor:
        """What is denoised, `(B, F, C, h, w)`."""
        raise NotImplementedError

    def encoded(self, batch: ClipBatch) -> ClipBatch:
        """The batch with what target and condition both need, made once."""
        return batch

    def other_losses(self, batch: ClipBatch) -> dict[str, Tensor]:
        """What is minimised beside the denoising loss, one value a clip `(B,)` each, by name."""
        return {}

    def condition(self, batch: ClipBatch, randomness: SampleRandomness | None) -> Tensor | None:
        """What is concatenated to the noisy target, `(B, F, C', h, w)`.

        Args:
            batch: clips with labels.
            randomness: decides what training leaves out; None leaves nothing out.
        """
        return None

    # ----------------------------------------------------------------------------------- training

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """Denoises at random timesteps, with conditions dropped at random."""
        batch = self.encoded(batch)
        randomness = training_randomness(self.trainer, self.seed, len(batch["name"]), batch_idx)
        dropped = drop_mask(randomness.uniform("tokens", self.device), self.token_drop)
        loss = self._denoising_loss(
            batch, randomness, self.condition(batch, randomness), dropped
        ).mean()
        self.log("train/loss", loss.detach(), prog_bar=True)
        for name, other in self.other_losses(batch).items():
            self.log(f"train/{name}", other.detach().mean())
            loss = loss + other.mean()
        return loss

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The same loss with nothing dropped, noise and timestep fixed for each clip.

        Of the first batch also pictures.
        """
        batch = self.encoded(batch)
        randomness = SampleRandomness.of_samples(self.seed, batch["name"])
        with self.averaged_weights():
            loss = self._denoising_loss(
                batch, randomness, self.condition(batch, None), dropped=None
            )
            losses = {"loss": loss, **self.other_losses(batch)}
            self.validation_means.add(batch["name"], losses)
            shown = self.visualized_clips if self.visualization_loggers() else 0
            if batch_idx == 0 and shown and self.global_rank == 0:
                self.draw({k: v[:shown] for k, v in batch.items()})  # type: ignore[arg-type,index]

    def draw(self, batch: ClipBatch) -> None:
        """Samples the clips and logs pictures of them beside the truth."""
        raise NotImplementedError

    def _denoising_loss(
        self,
        batch: ClipBatch,
        randomness: SampleRandomness,
        condition: Tensor | None,
        dropped: Tensor | None,
    ) -> Tensor:
        """Eq. 5, one value a clip.

        Validation sees all timesteps alike, so that losses compare.
        """
        clean = self.target(batch)
        sampling = self.timestep_sampling if self.training else UniformTimesteps()
        return diffusion_loss(
            self.denoiser(batch, condition, randomness if self.training else None).bind(dropped),
            clean,
            noise=randomness.noise(clean.shape[1:], device=self.device),
            timesteps=sampling(randomness, num_train_timesteps(self.noise_scheduler), self.device),
            scheduler=self.noise_scheduler,
            weighting=self.weighting,
        )

    # ----------------------------------------------------------------------------------- sampling

    def denoiser(
        self,
        batch: ClipBatch,
        condition: Tensor | None,
        randomness: SampleRandomness | None = None,
    ) -> Denoiser:
        """The network with everything bound that this batch's key frames say.

        Arguments as for `condition`, and its result.
        """
        return Denoiser(
            self.unet,
            tokens=key_tokens(batch, self.image_encoder),
            fps=batch["fps"],
            key_index=batch["key_index"],
            condition=condition,
        )

    def weaker(self, condition: Tensor | None) -> Tensor | None:
        """The condition without what `TwoConditionGuidance` guides on besides the tokens."""
        return None

    def sample(
        self, batch: ClipBatch, condition: Tensor | None, channels: int, size: tuple[int, int]
    ) -> Tensor:
        """Draws samples `(B, F, channels, *size)`, each a function of seed and clip name."""
        count, frames = batch["video"].shape[:2]
        denoiser = replace(self.denoiser(batch, condition), weaker=self.weaker(condition))
        return denoiser.sample(
            self.noise_scheduler,
            (count, frames, channels, *size),
            guidance=self.guidance,
            num_inference_steps=self.num_inference_steps,
            generator=[sample_generator(self.seed, name) for name in batch["name"]],
        )


def check_kind(part: object, described: dict[str, Any], where: str) -> None:
    """Refuses a part of another class than the weights were trained with.

    Args:
        part: what is there now.
        described: what the checkpoint was trained with (see `movideo.hub.checkpoint.describe`).
        where: the weights and the option; named in the error.

    Raises:
        UserError: the classes differ.
    """
    own, learnt = class_path(type(part)), current_path(described["class_path"])
    if own != learnt:
        raise UserError(
            f"{where}: {own}, but the weights were trained with {learnt}; set that, or start with "
            "--model.init_from and --model.allow_other_parts true to adapt"
        )
