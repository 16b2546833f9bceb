"""The whole chain at inference: an image in, its motion, its latent video, a video out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import movideo
from movideo.clips.batch import reach
from movideo.diffusion import ClassifierFreeGuidance, Denoiser, Guidance
from movideo.diffusion.sampling import OnStep
from movideo.errors import UserError
from movideo.hub.assembly import assemble
from movideo.hub.card import model_card
from movideo.hub.model_folder import ModelFolder, steps_entry, write_model
from movideo.hub.publish import publish
from movideo.hub.trust import trusting
from movideo.models import (
    Backbone,
    FrameDecoder,
    ImageEncoder,
    VideoAutoencoder,
    VideoDecoder,
)
from movideo.motion.carry import scale_motion
from movideo.motion.condition import ConditionTransform, motion_condition
from movideo.motion.key_frame import KeyFrameCondition
from movideo.motion.noise import MotionNoise
from movideo.motion.scale import FlowScale, ScaleDraw
from movideo.motion.space import Motion, MotionSpace
from movideo.motion.visibility import Consistency, Visibility
from movideo.motion.windows import join_windows, plan_windows
from movideo.text_to_image import TextToImage
from movideo.video.images import as_frames, as_images

COMPONENTS = (
    "autoencoder",
    "image_encoder",
    "motion_unet",
    "motion_scheduler",
    "motion_space",
    "key_frame",
    "flow_scale",
    "video_unet",
    "video_scheduler",
    "condition_transform",
    "motion_noise",
    "visibility",
    "decoder",
)
logger = logging.getLogger(__name__)

Steps = int | tuple[int, int] | None
OUTPUT_TYPES = ("pil", "np", "pt", "latent")
Pictures = Image.Image | NDArray[Any] | Tensor
Callback = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


@dataclass(frozen=True)
class GeneratedVideos:
    """What the chain makes of B images, all at `(H, W)`.

    Attributes:
        video: `(B, F, 3, H, W)` in [-1, 1]; latents `(B, F, c, h, w)` where nothing was decoded.
        depth: `(B, F, 1, H, W)` in [-1, 1], near is large.
        flow_i2v: `(B, F, 2, H, W)`, pixels, from each frame into the key frame.
        flow_v2i: `(B, F, 2, H, W)`, pixels, from the key frame into each frame.
        visible: `(B, F, 1, H, W)`, 1.0 where the key frame shows what is there.
        visibility: the rule that says so.
        level: `(B,)`, how far off the motion is, as stage 2 was told.
    """

    video: Tensor
    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor
    visible: Tensor
    visibility: Visibility
    level: Tensor | None

    @property
    def motion(self) -> Motion:
        """Depth and both flows."""
        return Motion(self.depth, self.flow_i2v, self.flow_v2i, self.visibility, self.level)


@dataclass
class MoVideoOutput(BaseOutput):
    """What a call of the pipeline gives, in the order of the tuple without `return_dict`.

    Attributes:
        frames: of B videos, as `output_type` says: `pil`, a list of F pictures each; `np`,
            `(B, F, H, W, 3)` in [0, 1]; `pt`, `(B, F, 3, H, W)` in [0, 1]; `latent`,
            `(B, F, c, h, w)`.
        depth: as in `GeneratedVideos`, and so the others.
        flow_i2v: likewise.
        flow_v2i: likewise.
        visible: likewise.
    """

    frames: list[list[Image.Image]] | NDArray[Any] | Tensor
    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor
    visible: Tensor


class MoVideoPipeline(DiffusionPipeline):
    """All stages as one callable, called as diffusers' pipelines are.

    Args:
        autoencoder: latents of the key frame.
        decoder: stage 3; the autoencoder's own, frame by frame, by default.
        condition_transform: what stage 2 is shown of its condition; all of it by default.
        motion_noise: how far off generated motion is, and whether stage 2 is told; by default not.
        visibility: the rule by which generated motion says what the key frame shows; Eq. 11 by
            default, as in models of before.
        key_frame: what stage 1 sees of the key frame beside its tokens; nothing by default.
        flow_scale: predicts how far things move; by default depth alone says so.
        image_encoder: tokens of the key frame.
        motion_unet: stage 1.
        motion_scheduler: its noise schedule and solver.
        motion_space: its channels, in pixels.
        video_unet: stage 2.
        video_scheduler: its noise schedule and solver.

    Attributes:
        text_to_image: draws the key frames of prompts, if it is to make videos of any. Not a part:
            others' gigabytes are not saved with the model, whoever loads it names them again.
        card: the page that is published with the model, Markdown; written anew where it is None.
        default_steps: of motion and of video, where a call asks for none; as many as the solvers
            need where it is None.
    """

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        image_encoder: ImageEncoder,
        motion_unet: Backbone,
        motion_scheduler: SchedulerMixin,
        motion_space: MotionSpace,
        video_unet: Backbone,
        video_scheduler: SchedulerMixin,
        decoder: VideoDecoder | None = None,
        condition_transform: ConditionTransform | None = None,
        visibility: Visibility | None = None,
        key_frame: KeyFrameCondition | None = None,
        flow_scale: FlowScale | None = None,
        motion_noise: MotionNoise | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            autoencoder=autoencoder,
            image_encoder=image_encoder,
            motion_unet=motion_unet,
            motion_scheduler=motion_scheduler,
            motion_space=motion_space,
            video_unet=video_unet,
            video_scheduler=video_scheduler,
            decoder=decoder or FrameDecoder(autoencoder),
            condition_transform=condition_transform or ConditionTransform(),
            visibility=visibility or Consistency(),
            key_frame=key_frame or KeyFrameCondition(),
            flow_scale=flow_scale or FlowScale(),
            motion_noise=motion_noise or MotionNoise(),
        )
        self.text_to_image: TextToImage | None = None
        self.card: str | None = None
        self.default_steps: tuple[int, int] | None = None
        self._has_warned = False
        self._offload_to: torch.device | None = None
        for network in self._networks():
            network.eval().requires_grad_(False)

    @property
    def components(self) -> dict[str, Any]:
        """All parts, by name."""
        return {name: getattr(self, name) for name in COMPONENTS}

    # ------------------------------------------------------------------------------------ placing

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        if self._offload_to is not None:
            return self._offload_to
        device: torch.device = next(self.video_unet.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        dtype: torch.dtype = next(self.video_unet.parameters()).dtype
        return dtype

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MoVideoPipeline:
        """Moves all networks, and ends offloading.

        Only networks take another type: noise, sampling, flow and mask stay float32, and so does
        the result. On a CPU leave them in float32 too, bfloat16 is many times slower there.

        Args:
            device: where to; stays as it is when None.
            dtype: `torch.bfloat16` halves the memory; stays as it is when None.
        """
        if device is not None:
            self._offload_to = None
        for network in self._networks():
            # Not their own: that of diffusers warns of every change of type. What gives one number
            # a video stays exact.
            kept = None if network is self.flow_scale else dtype
            nn.Module.to(network, device=device, dtype=kept)
        return self

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str = "cuda"
    ) -> None:
        """Keeps the networks in main memory; each is on the device only while it computes.

        Unlike diffusers' own this needs no accelerate.

        Args:
            gpu_id: of the GPU, where there are several.
            device: where networks compute.
        """
        self.to("cpu")
        self._offload_to = torch.device(device) if gpu_id is None else torch.device("cuda", gpu_id)

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str = "cuda"
    ) -> None:
        """The same as `enable_model_cpu_offload`: a whole network is the smallest piece moved."""
        self.enable_model_cpu_offload(gpu_id, device)

    def load_lora_weights(self, *args: Any, **options: Any) -> None:
        """Refuses.

        Raises:
            UserError: always.
        """
        raise UserError(
            "load_lora_weights: no part takes LoRA weights; merge them into the 2-D network before "
            "training, and name it as model.unet.pretrained"
        )

    def _networks(self) -> list[nn.Module]:
        return [part for part in self.components.values() if isinstance(part, nn.Module)]

    @contextmanager
    def _at_work(self, network: nn.Module) -> Iterator[torch.dtype]:
        """Within it a network is on the device; gives the type that it takes."""
        dtype = next(network.parameters()).dtype
        if self._offload_to is None:
            yield dtype
            return
        network.to(self._offload_to)
        try:
            yield dtype
        finally:
            network.to("cpu")

    # --------------------------------------------------------------------------------- generation

    @torch.no_grad()
    def __call__(
        self,
        image: Pictures | Sequence[Pictures] | None = None,
        prompt: str | Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        fps: float | Tensor = 10.0,
        num_frames: int = 17,
        key_index: int | Tensor | None = None,
        num_inference_steps: Steps = None,
        guidance_scale: float | tuple[float, float] = 1.0,
        num_videos_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        motion: Motion | None = None,
        motion_strength: float = 1.0,
        decode_chunk_size: int | None = None,
        hold_key_frame: bool = False,
        window: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> MoVideoOutput | tuple[Any, ...]:
        """Makes a video around each key frame; arguments mean what they do in diffusers.

        Args:
            image: key frames, one or a list: PIL pictures; arrays `(H, W, 3)` or `(B, H, W, 3)`,
                bytes or [0, 1]; tensors `(3, H, W)` or `(B, 3, H, W)`, bytes, [0, 1], or [-1, 1]
                where any value is below 0.
            prompt: what the key frames show, in words, instead of `image`; one or a list.
            height: of the video, pixels; the picture's own by default. Pictures of another size
                are resized to cover the video, and their centre is cut out.
            width: likewise.
            fps: frames per second, one number or one a key frame: how fast things move.
            num_frames: F.
            key_index: where the key frame stands in the video, one number or one a key frame; the
                centre by default.
            num_inference_steps: of either diffusion, or one number for motion and one for video; by
                default the model's `default_steps`, or as many as their solvers need (16 of those
                of higher order, 50 of others).
            guidance_scale: classifier-free guidance, 1 for none; one number, or one for motion and
                one for video.
            num_videos_per_prompt: videos of each key frame.
            generator: the only source of randomness, on the CPU; one, or one a video.
            latents: noise that the latent video starts from, `(B, F, c, h, w)`, of unit variance.
            motion: given motion, `(B, F, ·, H, W)`, instead of stage 1.
            motion_strength: how many times as far things move, whatever the motion is from.
            decode_chunk_size: frames that are decoded at once, all by default. With it the memory
                that decoding takes does not grow with the video, and the result is on the CPU.
            hold_key_frame: hold the key frame's latent, which is known, to what it is while the
                others are sampled.
            window: frames that are generated at once, all by default. Longer videos go on from
                the first and the last frame of what is there, and memory does not grow with them;
                for models that were trained with key frames anywhere, at this number of frames.
            output_type: `pil`, `np`, `pt` or `latent`; see `MoVideoOutput`.
            return_dict: a `MoVideoOutput`, or a tuple of its fields.
            callback_on_step_end: called after each step of either diffusion with the pipeline, the
                number of the step, its timestep and `{"latents": state}`; the `latents` of the
                dictionary that it gives back are gone on with.
            callback_on_step_end_tensor_inputs: which tensors it is given; there are only `latents`.

        Raises:
            UserError: a picture, size, rate, index, shape or option does not fit; there is nothing
                to draw prompts with.
        """
        if output_type not in OUTPUT_TYPES:
            raise UserError(f"output_type {output_type!r}: give one of {', '.join(OUTPUT_TYPES)}")
        if num_videos_per_prompt < 1:
            raise UserError(f"num_videos_per_prompt {num_videos_per_prompt}: give 1 or more")
        if unknown := set(callback_on_step_end_tensor_inputs) - {"latents"}:
            raise UserError(
                f"callback_on_step_end_tensor_inputs: {', '.join(sorted(unknown))}; there are only "
                "latents"
            )
        if (image is None) == (prompt is None):
            raise UserError("image, prompt: give one of them")
        if prompt is not None:
            prompts = [prompt] if isinstance(prompt, str) else list(prompt)
            key_frames = self._draw(prompts, height, width, generator)
        else:
            key_frames = as_images(image, height, width)
        key_frames = key_frames.repeat_interleave(num_videos_per_prompt, dim=0)
        scales = guidance_scale if isinstance(guidance_scale, tuple) else (guidance_scale,) * 2
        result = self.generate(
            key_frames,
            fps=fps,
            num_frames=num_frames,
            key_index=key_index,
            num_inference_steps=num_inference_steps,
            generator=generator,
            motion=motion,
            motion_strength=motion_strength,
            guidance=(ClassifierFreeGuidance(scales[0]), ClassifierFreeGuidance(scales[1])),
            decode_chunk_size=decode_chunk_size,
            hold_key_frame=hold_key_frame,
            window=window,
            latents=latents,
            on_step=None if callback_on_step_end is None else self._on_step(callback_on_step_end),
            decode=output_type != "latent",
        )
        fields = (result.depth, result.flow_i2v, result.flow_v2i, result.visible)
        output = MoVideoOutput(as_frames(result.video, output_type), *fields)
        return output if return_dict else output.to_tuple()

    @torch.no_grad()
    def generate(
        self,
        image: Tensor,
        fps: float | Tensor = 10.0,
        num_frames: int = 17,
        key_index: int | Tensor | None = None,
        num_inference_steps: Steps = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        motion: Motion | None = None,
        motion_strength: float = 1.0,
        guidance: Guidance | tuple[Guidance, Guidance] | None = None,
        decode_chunk_size: int | None = None,
        hold_key_frame: bool = False,
        latents: Tensor | None = None,
        on_step: OnStep | None = None,
        decode: bool = True,
        window: int | None = None,
    ) -> GeneratedVideos:
        """What a call does, of tensors and in tensors: what the stages and tables use.

        Args:
            image: key frames `(B, 3, H, W)` or one `(3, H, W)`, RGB in [-1, 1].
            fps: as for a call, and so all that is not said here.
            num_frames: F.
            key_index: one number or `(B,)`.
            num_inference_steps: of either diffusion.
            generator: one, or one an image.
            motion: given motion, `(B, F, ·, H, W)`, instead of stage 1.
            motion_strength: how many times as far things move.
            guidance: one for both diffusions, or one each; none by default.
            decode_chunk_size: frames that are decoded at once, all by default.
            hold_key_frame: as for a call.
            latents: noise that the latent video starts from.
            on_step: is shown the state after each step of either diffusion, and gives the one to
                go on with.
            decode: False leaves the latents as they are.
            window: as for a call.

        Raises:
            UserError: a size, rate, index or shape does not fit.
        """
        if window is not None and motion is None and num_frames > window:
            return self._generate_windows(
                image, fps, num_frames, key_index, window, latents, decode,
                num_inference_steps=num_inference_steps,
                generator=generator,
                motion_strength=motion_strength,
                guidance=guidance,
                decode_chunk_size=decode_chunk_size,
                hold_key_frame=hold_key_frame,
                on_step=on_step,
            )  # fmt: skip
        if decode_chunk_size is not None and decode_chunk_size < 1:
            raise UserError(f"decode_chunk_size {decode_chunk_size}: give 1 or more, None for all")
        _check_strength(motion_strength)
        image, bound = self._bind(image, fps, num_frames, key_index)
        shape, size = (len(image), num_frames), (image.shape[-2], image.shape[-1])
        guidances = guidance if isinstance(guidance, tuple) else (guidance, guidance)
        options: dict[str, Any] = {"generator": generator, "on_step": on_step}
        motion_steps, video_steps = self._steps(num_inference_steps)
        if motion is None:
            motion = self._generate_motion(
                image,
                num_frames,
                bound,
                guidances[0],
                motion_strength,
                {**options, "num_inference_steps": motion_steps},
            )
        else:
            motion = _given_motion(motion, bound["key_index"], shape, size, image.device)
            motion = _scaled(motion, bound["key_index"].tolist(), motion_strength)
        options |= {"num_inference_steps": video_steps, "noise": latents, "held": hold_key_frame}
        z = self._generate_latents(image, motion, shape, size, bound, guidances[1], options)
        video = self._decode(z, motion.flow_i2v, bound["key_index"], decode_chunk_size, decode)
        return _result(video, motion.map(lambda field: field.to(video.device)))

    def _generate_windows(
        self,
        image: Tensor,
        fps: float | Tensor,
        num_frames: int,
        key_index: int | Tensor | None,
        length: int,
        latents: Tensor | None,
        decode: bool,
        **options: Any,
    ) -> GeneratedVideos:
        """A video in windows, each around a frame of one that was made before."""
        key = num_frames // 2 if key_index is None else key_index
        keys = set(torch.as_tensor(key).flatten().tolist())
        if length < 2 or len(keys) != 1 or latents is not None or not decode:
            raise UserError(
                f"window {length}: {num_frames} frames are made in windows of 2 or more, around "
                "one key_index for all, without latents in or out; give None for all at once"
            )
        image = image if image.ndim == 4 else image[None]
        self._check(image, _per_image("fps", fps, image), num_frames, torch.tensor(list(keys)))

        def make(picture: Tensor, key_index: int) -> tuple[Tensor, Motion]:
            made = self.generate(picture, fps, length, key_index, **options)
            return made.video, made.motion

        return _result(*join_windows(image, plan_windows(num_frames, keys.pop(), length), make))

    @torch.no_grad()
    def generate_motion(
        self,
        image: Tensor,
        fps: float | Tensor = 10.0,
        num_frames: int = 17,
        key_index: int | Tensor | None = None,
        num_inference_steps: Steps = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        guidance: Guidance | None = None,
        motion_strength: float = 1.0,
    ) -> Motion:
        """Stage 1 alone; arguments as for the whole chain, to be handed to it as `motion`.

        Raises:
            UserError: a size, rate, index or strength does not fit.
        """
        _check_strength(motion_strength)
        image, bound = self._bind(image, fps, num_frames, key_index)
        steps, _ = self._steps(num_inference_steps)
        options = {"num_inference_steps": steps, "generator": generator}
        return self._generate_motion(image, num_frames, bound, guidance, motion_strength, options)

    def _draw(
        self,
        prompts: Sequence[str],
        height: int | None,
        width: int | None,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> Tensor:
        if self.text_to_image is None:
            raise UserError(
                "text_to_image: None, but there are prompts; give from_pretrained its hub id or "
                "folder"
            )
        if height is None or width is None:
            raise UserError(f"height {height}, width {width}: give both for videos of prompts")
        image = self.text_to_image.to(self.device)(prompts, (height, width), generator)
        if self._offload_to is not None:
            self.text_to_image.to("cpu")
        return image

    def _on_step(self, callback: Callback) -> OnStep:
        def on_step(index: int, timestep: Tensor, state: Tensor) -> Tensor:
            given = callback(self, index, timestep, {"latents": state})
            latents: Tensor = (given or {}).get("latents", state)
            return latents

        return on_step

    def _bind(
        self,
        image: Tensor,
        fps: float | Tensor,
        num_frames: int,
        key_index: int | Tensor | None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """The images as a batch on the networks' device, and what both diffusions are told."""
        image = image if image.ndim == 4 else image[None]
        key = _per_image("key_index", num_frames // 2 if key_index is None else key_index, image)
        rate = _per_image("fps", fps, image).float()
        self._check(image, rate, num_frames, key)
        off_centre = bool((key != num_frames // 2).any())
        if off_centre and not self.key_frame.anywhere and not self._has_warned:
            self._has_warned = True  # once, and not for every window
            logger.warning(
                "key_index %s: this model was trained with key frames in the centre alone, and "
                "guesses elsewhere; train one with data.training.key_frames",
                sorted(set(key.tolist())),
            )
        image = image.to(self.device)
        with self._at_work(self.image_encoder) as dtype:
            tokens = self.image_encoder(image.to(dtype)).float()
        return image, {
            "tokens": tokens,
            "fps": rate.to(self.device),
            "key_index": key.to(self.device),
        }

    def _generate_motion(
        self,
        image: Tensor,
        num_frames: int,
        bound: dict[str, Any],
        guidance: Guidance | None,
        strength: float,
        options: dict[str, Any],
    ) -> Motion:
        size = (image.shape[-2], image.shape[-1])
        grid = self.motion_space.grid_of(size)
        place = (len(image), num_frames, self.motion_space.channels, *grid)
        key, tokens = bound["key_index"], bound["tokens"]
        condition = self.key_frame(image, tokens, key, num_frames, grid)
        drawn = self._draw_scale(bound, num_frames, options["generator"])
        if drawn is not None and strength > 0:  # depth can agree with it
            drawn, strength = drawn.times(strength), 1.0
        with self._at_work(self.motion_unet) as dtype:
            denoiser = Denoiser(
                _taking(dtype, self.motion_unet),
                **bound,
                condition=condition,
                log_scale=None if drawn is None else drawn.log_scale,
            )
            sample = denoiser.sample(
                self.motion_scheduler,
                place,
                guidance or ClassifierFreeGuidance(),
                progress=self._bar("motion"),
                **options,
            )
        bounds = None if drawn is None else drawn.bounds
        motion: Motion = self.motion_space.decode(sample, key, size, bounds)
        level = torch.full((len(key),), self.motion_noise.generated, device=key.device)
        motion = replace(motion, visibility=self.visibility, level=level)
        return _scaled(motion, key.tolist(), strength)

    def _draw_scale(
        self,
        bound: dict[str, Any],
        num_frames: int,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> ScaleDraw | None:
        if not self.flow_scale.predicts:
            return None
        with self._at_work(self.flow_scale):
            seconds = reach(bound["key_index"], num_frames, bound["fps"])
            drawn: ScaleDraw = self.flow_scale.draw(bound["tokens"], seconds, generator)
        return drawn

    def _bar(self, name: str) -> dict[str, Any]:
        """As `set_progress_bar_config` has it."""
        return {"desc": name, **getattr(self, "_progress_bar_config", {})}

    def _generate_latents(
        self,
        image: Tensor,
        motion: Motion,
        shape: tuple[int, int],
        size: tuple[int, int],
        bound: dict[str, Any],
        guidance: Guidance | None,
        options: dict[str, Any],
    ) -> Tensor:
        with self._at_work(self.autoencoder) as dtype:
            key_latent = self.autoencoder.encode(image[:, None].to(dtype))[:, 0].float()
        condition = self.condition_transform(
            motion_condition(
                motion,
                key_latent,
                size=size,
                motion_space=self.motion_space,
                with_level=self.motion_noise.channels > 0,
            )
        )
        everywhere = torch.ones(len(image), dtype=torch.bool, device=key_latent.device)
        place = (*shape, *key_latent.shape[1:])
        noise, held = options["noise"], options.pop("held")
        if noise is not None and tuple(noise.shape) != place:
            raise UserError(f"latents {tuple(noise.shape)}: these videos need {place}")
        with self._at_work(self.video_unet) as dtype:
            unet = _taking(dtype, self.video_unet)
            denoiser = Denoiser(
                unet,
                **bound,
                condition=condition.channels(),
                weaker=condition.without_warped_latent(everywhere).channels(),
                held=key_latent if held else None,
            )
            return denoiser.sample(
                self.video_scheduler,
                place,
                guidance or ClassifierFreeGuidance(),
                progress=self._bar("video"),
                **options,
            )

    def _decode(
        self, z: Tensor, flow_i2v: Tensor, key_index: Tensor, chunk: int | None, decode: bool
    ) -> Tensor:
        if not decode:
            return z
        with self._at_work(self.decoder) as dtype:
            z = z.to(dtype)
            if chunk is None:
                whole: Tensor = self.decoder(z, flow_i2v, key_index)
                return whole.float().clamp(-1, 1)
            video, done = torch.empty(0), 0
            for part in self.decoder.in_chunks(z, flow_i2v, key_index, chunk):
                if not done:
                    video = torch.empty(len(z), z.shape[1], *part.shape[2:])
                video[:, done : done + part.shape[1]] = part.clamp(-1, 1)
                done += part.shape[1]
            return video

    def _check(self, image: Tensor, fps: Tensor, num_frames: int, key: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3:
            raise UserError(f"image {tuple(image.shape)}: give (3, H, W) or (B, 3, H, W)")
        self.autoencoder.latent_size((image.shape[-2], image.shape[-1]))
        if num_frames < 1:
            raise UserError(f"num_frames {num_frames}: a video needs at least one frame")
        if not bool(((fps > 0) & fps.isfinite()).all()):
            raise UserError(f"fps {fps.tolist()}: must be above 0; models are trained on 3 to 30")
        if not bool(((key >= 0) & (key < num_frames)).all()):
            raise UserError(
                f"key_index {key.tolist()}: not one of the {num_frames} frames; "
                f"choose 0 to {num_frames - 1}"
            )

    def _steps(self, asked: Steps) -> tuple[int | None, int | None]:
        """Of stage 1 and of stage 2."""
        steps = self.default_steps if asked is None else asked
        return steps if isinstance(steps, tuple) else (steps, steps)

    # -------------------------------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder for each part, the card `README.md`, and `model_index.json`."""
        about = {"_class_name": type(self).__name__, "_movideo_version": movideo.__version__}
        about |= steps_entry(self.default_steps)
        card = model_card(self.components) if self.card is None else self.card
        write_model(folder, about, self.components, card)

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        text_to_image: str | TextToImage | None = None,
        trust: Iterable[str] = (),
        torch_dtype: torch.dtype | None = None,
    ) -> MoVideoPipeline:
        """Reads what `save_pretrained` wrote.

        Args:
            place: its folder, its id on the Hugging Face hub (`owner/name`), or `embedded` for the
                small model that movideo brings along.
            revision: branch, tag or commit on the hub.
            text_to_image: draws the key frames of prompts: itself, or the hub id or folder of a
                text-to-image pipeline of diffusers.
            trust: packages whose classes the model may name (see `movideo.hub.trust`).
            torch_dtype: of the networks, float32 by default; see `to`.

        Raises:
            UserError: it is missing or no such model.
        """
        model = ModelFolder(place, revision)
        with trusting(trust):
            pipeline = cls(**model.load_all(COMPONENTS))
        pipeline.card, pipeline.default_steps = model.card(), model.default_steps()
        if isinstance(text_to_image, str):
            text_to_image = TextToImage(text_to_image)
        pipeline.text_to_image = text_to_image
        return pipeline.to(dtype=torch_dtype)

    @classmethod
    def from_pipe(cls, pipeline: MoVideoPipeline, **parts: Any) -> MoVideoPipeline:
        """A pipeline with the parts of another, which are shared and not copied.

        Args:
            pipeline: the other.
            parts: those to replace, by name.
        """
        made = cls(**{**pipeline.components, **parts})
        made.text_to_image, made.card = pipeline.text_to_image, None if parts else pipeline.card
        if not parts.keys() & {"motion_scheduler", "video_scheduler"}:  # they are those solvers'
            made.default_steps = pipeline.default_steps
        return made

    @classmethod
    def from_checkpoints(
        cls, checkpoints: Sequence[str | Path], trust: Iterable[str] = ()
    ) -> MoVideoPipeline:
        """Puts the checkpoints of stages together; errors as for `assemble`.

        Args:
            checkpoints: as for `movideo.hub.assembly.assemble`.
            trust: packages whose classes they may name.
        """
        with trusting(trust):
            parts, trainings = assemble(checkpoints)
        pipeline = cls(**parts)
        pipeline.card = model_card(pipeline.components, trainings)
        return pipeline

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload a movideo model",
        token: str | None = None,
    ) -> str:
        """Publishes what `save_pretrained` writes on the Hugging Face hub.

        Args:
            repo_id: `owner/name`; made if it is not there.
            private: whether only its owner sees it, where it is made.
            revision: the branch to commit to, the main one by default.
            commit_message: of the commit.
            token: the one that the hub's own login keeps, by default.

        Returns:
            The commit's address.

        Raises:
            UserError: the hub refuses or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return publish(folder, repo_id, private, revision, commit_message, token)


def _result(video: Tensor, motion: Motion) -> GeneratedVideos:
    return GeneratedVideos(
        video,
        **motion.fields(),
        visible=motion.visible.to(video.device),
        visibility=motion.visibility,
        level=motion.level,
    )


def _taking(dtype: torch.dtype, network: nn.Module) -> Callable[..., Tensor]:
    """A denoising network for a caller who knows only float32."""

    def predict(
        sample: Tensor, timestep: Tensor, tokens: Tensor, *rest: Any, **options: Any
    ) -> Tensor:
        prediction: Tensor = network(sample.to(dtype), timestep, tokens.to(dtype), *rest, **options)
        return prediction.float()

    return predict


def _per_image(name: str, value: float | Tensor, image: Tensor) -> Tensor:
    """One number, or one for each image, as `(B,)`."""
    values = torch.as_tensor(value)
    if values.ndim > 1 or values.numel() not in (1, len(image)):
        raise UserError(f"{name} {values.tolist()}: give one number, or one for each image")
    return values.expand(len(image))


def _check_strength(strength: float) -> None:
    if not 0 <= strength < math.inf:
        raise UserError(f"motion_strength {strength}: give 0 or more; 1 changes nothing")


def _scaled(motion: Motion, keys: list[int], strength: float) -> Motion:
    """Each video by itself, since each may have a key frame of its own."""
    if strength == 1:
        return motion
    videos = []
    for i, key in enumerate(keys):
        one = motion.map(lambda field, i=i: field[i : i + 1])  # type: ignore[misc]
        videos.append(scale_motion(one, key, strength).fields())
    depth, flow_i2v, flow_v2i = (
        torch.cat([one[name] for one in videos]) for name in motion.fields()
    )
    return Motion(depth, flow_i2v, flow_v2i, level=motion.level)


def _given_motion(
    motion: Motion, key: Tensor, shape: tuple[int, int], size: tuple[int, int], device: torch.device
) -> Motion:
    """Motion that was handed in, on the networks' device.

    Raises:
        UserError: it is not that of these images and frames.
    """
    for name, channels in (("depth", 1), ("flow_i2v", 2), ("flow_v2i", 2)):
        found, wanted = tuple(getattr(motion, name).shape), (*shape, channels, *size)
        if found != wanted:
            raise UserError(f"motion: {name} is {found}; these images need {wanted}")
    places = torch.arange(len(key)), key.cpu()
    if motion.flow_i2v[places].any() or motion.flow_v2i[places].any():
        raise UserError(
            f"motion: moves at frame {key.tolist()}, so that is not its key frame; "
            "give the key_index that it was made for"
        )
    return motion.map(lambda field: field.to(device))
