"""Ways to make a video of a key frame: what the rows of a table compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import override

from movideo.diffusion import ClassifierFreeGuidance, Guidance
from movideo.errors import UserError
from movideo.evaluation.report import Settings
from movideo.hub.model_folder import ModelFolder, is_checkpoint
from movideo.hub.needs import WeightSpec
from movideo.models import FrameDecoder, VideoAutoencoder, VideoDecoder
from movideo.models.decoder import load_decoder
from movideo.motion.space import Motion
from movideo.ops import warp
from movideo.pipeline import MoVideoPipeline
from movideo.storage.digest import content_hash, hex_digest


@dataclass(frozen=True)
class MethodInput:
    """What a method may make B videos of.

    Attributes:
        image: key frames `(B, 3, H, W)` in [-1, 1].
        fps: `(B,)`.
        key_index: `(B,)`.
        num_frames: F.
        generators: one a video; the same for all methods.
        video: the true clips `(B, F, 3, H, W)`, if there are any.
        motion: theirs, estimated; only where the method needs it.
    """

    image: Tensor
    fps: Tensor
    key_index: Tensor
    num_frames: int
    generators: list[torch.Generator]
    video: Tensor | None = None
    motion: Motion | None = None


@dataclass(frozen=True)
class Made:
    """What a method made.

    Attributes:
        video: `(B, F, 3, H, W)` in [-1, 1].
        motion: the motion that it made up for it; None where it makes up none.
    """

    video: Tensor
    motion: Motion | None = None


class Method(ABC):
    """A row of a table.

    Attributes:
        needs_clip: whether it needs true clips, from which motion can be estimated.
        makes_motion: whether it makes up the motion of its videos.
    """

    needs_clip: bool = True
    makes_motion: bool = False

    def prepare(self, model: str) -> None:  # noqa: B027 (most need nothing)
        """Loads what it needs.

        Args:
            model: a folder written by `movideo export`, a hub id, or `embedded`; for methods that
                name no model of their own.

        Raises:
            MethodUnavailable: something optional is missing: the report does without this row.
            UserError: something else is missing.
        """

    @abstractmethod
    def make(self, given: MethodInput) -> Made:
        """Makes the videos, on the device that the key frames are on."""

    def settings(self) -> Settings:
        """What its videos depend on."""
        return {"method": type(self).__name__}


class MethodUnavailable(UserError):
    """A method that may be missing is missing; says how to get it."""


class Generation(Method):
    """The whole chain, or stages 2 and 3 under the true clip's motion.

    Args:
        model: a folder written by `movideo export`, a hub id, or `embedded`; the table's by
            default.
        optional: leave the row out where the model is missing.
        true_motion: take the motion estimated from the true clip instead of stage 1's.
        num_inference_steps: of either diffusion, or one number for motion and one for video; by
            default as many as the model says, or its solvers need.
        guidance: classifier-free guidance with scale 1 by default.
    """

    weight_spec = WeightSpec(checkpoints={"model": "movideo export"})

    pipeline: MoVideoPipeline

    def __init__(
        self,
        model: str | None = None,
        optional: bool = False,
        true_motion: bool = False,
        num_inference_steps: int | tuple[int, int] | None = None,
        guidance: Guidance | None = None,
    ) -> None:
        self.model = model
        self.optional = optional
        self.true_motion = true_motion
        self.needs_clip = true_motion
        self.makes_motion = not true_motion
        self.num_inference_steps = num_inference_steps
        self.guidance = guidance or ClassifierFreeGuidance()

    @override
    def prepare(self, model: str) -> None:
        self.model = self.model or model
        try:
            self.pipeline = _pipeline(self.model)
        except UserError as error:
            if self.optional:
                raise MethodUnavailable(str(error)) from error
            raise

    @override
    def settings(self) -> Settings:
        assert self.model is not None
        steps = self.num_inference_steps
        return super().settings() | {
            "model": self.model,
            "weights": _fingerprint(self.model),
            "motion": "true clip's" if self.true_motion else "generated",
            "num_inference_steps": list(steps) if isinstance(steps, tuple) else steps,
            "guidance": str(self.guidance),
        }

    @override
    def make(self, given: MethodInput) -> Made:
        result = self.pipeline.to(given.image.device).generate(
            given.image,
            fps=given.fps,
            num_frames=given.num_frames,
            key_index=given.key_index,
            num_inference_steps=self.num_inference_steps,
            generator=given.generators,
            motion=given.motion if self.true_motion else None,
            guidance=self.guidance,
        )
        motion = result.motion
        return Made(result.video, motion if self.makes_motion else None)


class FlowWarping(Method):
    """The key frame along the true clip's flow: what costs nothing, and shows what occlusion costs.

    What the key frame does not show is filled with what lies there in it.
    """

    @override
    def make(self, given: MethodInput) -> Made:
        assert given.motion is not None
        return Made(warp(given.image[:, None], given.motion.flow_i2v))


class FrozenKeyFrame(Method):
    """The key frame again and again: what a table that it wins is worth."""

    needs_clip = False

    @override
    def make(self, given: MethodInput) -> Made:
        return Made(given.image[:, None].repeat(1, given.num_frames, 1, 1, 1))


class Reconstruction(Method):
    """The true clip, encoded and decoded again along its flow (MoVideo Table 5).

    Args:
        decoder: a checkpoint of stage 3 or a model; the autoencoder's own decoder, frame by frame,
            by default.
        optional: leave the row out where the decoder is missing.
    """

    weight_spec = WeightSpec(checkpoints={"decoder": "movideo fit --config stage3.yaml"})

    autoencoder: VideoAutoencoder
    module: VideoDecoder

    def __init__(self, decoder: str | None = None, optional: bool = False) -> None:
        self.decoder = decoder
        self.optional = optional

    @override
    def prepare(self, model: str) -> None:
        self.autoencoder = _pipeline(model).autoencoder
        try:
            self.module = (
                FrameDecoder(self.autoencoder)
                if self.decoder is None
                else load_decoder(self.decoder, self.autoencoder)
            )
        except UserError as error:
            if self.optional:
                raise MethodUnavailable(str(error)) from error
            raise
        self.module.eval().requires_grad_(False)

    @override
    def settings(self) -> Settings:
        return super().settings() | {
            "autoencoder": self.autoencoder.fingerprint(),
            "decoder": self.decoder or self.module.label,
            "weights": self.decoder and _fingerprint(self.decoder),
        }

    @override
    def make(self, given: MethodInput) -> Made:
        assert given.video is not None
        assert given.motion is not None
        device = given.video.device
        with torch.no_grad():
            z = self.autoencoder.to(device).encode(given.video)
            video: Tensor = self.module.to(device)(z, given.motion.flow_i2v, given.key_index)
        return Made(video)


@lru_cache
def _pipeline(model: str) -> MoVideoPipeline:
    """One for all rows that name it."""
    return MoVideoPipeline.from_pretrained(model)


@lru_cache
def _fingerprint(place: str) -> str:
    """Tells whether weights are the same: samples of others must not be taken for theirs."""
    if is_checkpoint(place):
        return content_hash(place)
    folder: Path = ModelFolder(place).folder
    paths = sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors"))
    named = (f"{path.relative_to(folder).as_posix()} {content_hash(path)}" for path in paths)
    return hex_digest("".join(named))
