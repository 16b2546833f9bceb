"""The whole chain at inference: an image in, its motion, its latent video, a video out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import SchedulerMixin
from huggingface_hub import HfApi
from torch import Tensor, nn

import movideo
from movideo.diffusion import ClassifierFreeGuidance, Denoiser, Guidance
from movideo.errors import UserError
from movideo.hub.assembly import assemble
from movideo.hub.card import model_card
from movideo.hub.model_folder import ModelFolder, write_model
from movideo.hub.trust import trusting
from movideo.hub.weight_files import first_line
from movideo.models import (
    Backbone,
    FrameDecoder,
    ImageEncoder,
    VideoAutoencoder,
    VideoDecoder,
)
from movideo.motion.condition import ConditionTransform, motion_condition
from movideo.motion.space import Motion, MotionSpace
from movideo.ops import visible_mask
from movideo.text_to_image import TextToImage


@dataclass(frozen=True)
class MoVideoOutput:
    """What the chain makes of B images, all at `(H, W)`.

    Attributes:
        video: `(B, F, 3, H, W)` in [-1, 1].
        depth: `(B, F, 1, H, W)` in [-1, 1], near is large.
        flow_i2v: `(B, F, 2, H, W)`, pixels, from each frame into the key frame.
        flow_v2i: `(B, F, 2, H, W)`, pixels, from the key frame into each frame.
        visible: `(B, F, 1, H, W)`, 1.0 where the key frame shows what is there.
    """

    video: Tensor
    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor
    visible: Tensor

    @property
    def motion(self) -> Motion:
        """Depth and both flows."""
        return Motion(self.depth, self.flow_i2v, self.flow_v2i)


class MoVideoPipeline:
    """All stages as one callable.

    Args:
        autoencoder: latents of the key frame.
        decoder: stage 3; the autoencoder's own, frame by frame, by default.
        condition_transform: what stage 2 is shown of its condition; all of it by default.
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
    """

    COMPONENTS = (
        "autoencoder",
        "image_encoder",
        "motion_unet",
        "motion_scheduler",
        "motion_space",
        "video_unet",
        "video_scheduler",
        "condition_transform",
        "decoder",
    )

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
    ) -> None:
        self.autoencoder = autoencoder
        self.image_encoder = image_encoder
        self.motion_unet = motion_unet
        self.motion_scheduler = motion_scheduler
        self.motion_space = motion_space
        self.video_unet = video_unet
        self.video_scheduler = video_scheduler
        self.decoder = decoder or FrameDecoder(autoencoder)
        self.condition_transform = condition_transform or ConditionTransform()
        self.text_to_image: TextToImage | None = None
        self.card: str | None = None
        self._offload_to: torch.device | None = None
        for network in self._networks():
            network.eval().requires_grad_(False)

    @property
    def components(self) -> dict[str, Any]:
        """All parts, by name."""
        return {name: getattr(self, name) for name in self.COMPONENTS}

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
            # Not their own: that of diffusers warns of every change of type.
            nn.Module.to(network, device=device, dtype=dtype)
        return self

    def enable_model_cpu_offload(self, device: torch.device | str = "cuda") -> None:
        """Keeps the networks in main memory; each is on the device only while it computes."""
        self.to("cpu")
        self._offload_to = torch.device(device)

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
        image: Tensor | None = None,
        fps: float | Tensor = 10.0,
        num_frames: int = 17,
        key_index: int | Tensor | None = None,
        num_inference_steps: int = 50,
        generator: torch.Generator | list[torch.Generator] | None = None,
        motion: Motion | None = None,
        guidance: Guidance | None = None,
        decode_chunk: int | None = None,
        prompt: str | Sequence[str] | None = None,
        size: tuple[int, int] | None = None,
    ) -> MoVideoOutput:
        """Makes a video around each key frame.

        Args:
            image: key frames `(B, 3, H, W)` or one `(3, H, W)`, RGB in [-1, 1].
            fps: frames per second, one number or `(B,)`: how fast things move.
            num_frames: F.
            key_index: where the image stands in the video, one number or `(B,)`; the centre by
                default.
            num_inference_steps: of either diffusion.
            generator: the only source of randomness, on the CPU; one, or one an image.
            motion: given motion, `(B, F, ·, H, W)`, instead of stage 1.
            guidance: classifier-free guidance with scale 1 by default.
            decode_chunk: frames that are decoded at once, all by default. With it the memory that
                decoding takes does not grow with the video, and the result is on the CPU.
            prompt: what the key frames show, in words, instead of `image`; one or B.
            size: `(H, W)` of the videos of prompts.

        Raises:
            UserError: a size, rate, index or shape does not fit; there is nothing to draw with.
        """
        if prompt is not None and image is None:
            image = self._draw([prompt] if isinstance(prompt, str) else prompt, size, generator)
        elif image is None or prompt is not None or size is not None:
            raise UserError("image, prompt: give one of them, and with a prompt the video's size")
        if decode_chunk is not None and decode_chunk < 1:
            raise UserError(f"decode_chunk {decode_chunk}: give 1 or more, or None for all")
        image, bound = self._bind(image, fps, num_frames, key_index)
        shape, size = (len(image), num_frames), (image.shape[-2], image.shape[-1])
        options: dict[str, Any] = {
            "guidance": guidance or ClassifierFreeGuidance(),
            "num_inference_steps": num_inference_steps,
            "generator": generator,
        }
        if motion is None:
            motion = self._generate_motion(shape, size, bound, options)
        else:
            motion = _given_motion(motion, bound["key_index"], shape, size, image.device)
        latents = self._generate_latents(image, motion, shape, size, bound, options)
        video = self._decode(latents, motion.flow_i2v, bound["key_index"], decode_chunk)
        visible = visible_mask(motion.flow_i2v, motion.flow_v2i)
        fields = (motion.depth, motion.flow_i2v, motion.flow_v2i, visible)
        return MoVideoOutput(video, *(field.to(video.device) for field in fields))

    @torch.no_grad()
    def generate_motion(
        self,
        image: Tensor,
        fps: float | Tensor = 10.0,
        num_frames: int = 17,
        key_index: int | Tensor | None = None,
        num_inference_steps: int = 50,
        generator: torch.Generator | list[torch.Generator] | None = None,
        guidance: Guidance | None = None,
    ) -> Motion:
        """Stage 1 alone; arguments as for the whole chain, to be handed to it as `motion`.

        Raises:
            UserError: a size, rate or index does not fit.
        """
        image, bound = self._bind(image, fps, num_frames, key_index)
        options: dict[str, Any] = {
            "guidance": guidance or ClassifierFreeGuidance(),
            "num_inference_steps": num_inference_steps,
            "generator": generator,
        }
        size = (image.shape[-2], image.shape[-1])
        return self._generate_motion((len(image), num_frames), size, bound, options)

    def _draw(
        self,
        prompts: Sequence[str],
        size: tuple[int, int] | None,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> Tensor:
        if self.text_to_image is None:
            raise UserError(
                "text_to_image: None, but there are prompts; give from_pretrained its hub id or "
                "folder"
            )
        if size is None:
            raise UserError("size: None; give height and width of the videos of prompts")
        image = self.text_to_image.to(self.device)(prompts, size, generator)
        if self._offload_to is not None:
            self.text_to_image.to("cpu")
        return image

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
        shape: tuple[int, int],
        size: tuple[int, int],
        bound: dict[str, Any],
        options: dict[str, Any],
    ) -> Motion:
        place = (*shape, self.motion_space.channels, *self.motion_space.grid)
        with self._at_work(self.motion_unet) as dtype:
            denoiser = Denoiser(_taking(dtype, self.motion_unet), **bound, condition=None)
            sample = denoiser.sample(self.motion_scheduler, place, **options, progress="motion")
        return self.motion_space.decode(sample, bound["key_index"], size)

    def _generate_latents(
        self,
        image: Tensor,
        motion: Motion,
        shape: tuple[int, int],
        size: tuple[int, int],
        bound: dict[str, Any],
        options: dict[str, Any],
    ) -> Tensor:
        with self._at_work(self.autoencoder) as dtype:
            key_latent = self.autoencoder.encode(image[:, None].to(dtype))[:, 0].float()
        condition = self.condition_transform(
            motion_condition(
                motion.depth,
                motion.flow_i2v,
                motion.flow_v2i,
                key_latent,
                size=size,
                motion_space=self.motion_space,
            )
        )
        place = (*shape, *key_latent.shape[1:])
        with self._at_work(self.video_unet) as dtype:
            unet = _taking(dtype, self.video_unet)
            denoiser = Denoiser(unet, **bound, condition=condition.channels())
            return denoiser.sample(self.video_scheduler, place, **options, progress="video")

    def _decode(self, z: Tensor, flow_i2v: Tensor, key_index: Tensor, chunk: int | None) -> Tensor:
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

    # -------------------------------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder for each part, the card `README.md`, and `model_index.json`."""
        about = {"_class_name": type(self).__name__, "_movideo_version": movideo.__version__}
        card = model_card(self.components) if self.card is None else self.card
        write_model(folder, about, self.components, card)

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        text_to_image: str | TextToImage | None = None,
        trust: Iterable[str] = (),
    ) -> MoVideoPipeline:
        """Reads what `save_pretrained` wrote.

        Args:
            place: its folder, its id on the Hugging Face hub (`owner/name`), or `embedded` for the
                small model that movideo brings along.
            revision: branch, tag or commit on the hub.
            text_to_image: draws the key frames of prompts: itself, or the hub id or folder of a
                text-to-image pipeline of diffusers.
            trust: packages whose classes the model may name (see `movideo.hub.trust`).

        Raises:
            UserError: it is missing or no such model.
        """
        model = ModelFolder(place, revision)
        with trusting(trust):
            pipeline = cls(**model.load_all(cls.COMPONENTS))
        pipeline.card = model.card()
        if isinstance(text_to_image, str):
            text_to_image = TextToImage(text_to_image)
        pipeline.text_to_image = text_to_image
        return pipeline

    @classmethod
    def from_checkpoints(cls, checkpoints: Sequence[str | Path]) -> MoVideoPipeline:
        """Puts the checkpoints of stages together; arguments and errors as for `assemble`."""
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
        hub = HfApi(token=token)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            try:
                hub.create_repo(repo_id, private=private, exist_ok=True)
                commit = hub.upload_folder(
                    repo_id=repo_id,
                    folder_path=folder,
                    revision=revision,
                    commit_message=commit_message,
                )
            except (OSError, ValueError) as error:  # what the hub's library raises is one of these
                raise UserError(
                    f"{repo_id}: cannot be published ({first_line(error)}); "
                    "check the name, and log in with: hf auth login"
                ) from error
        return str(commit.commit_url)


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
    return Motion(*(field.to(device) for field in (motion.depth, motion.flow_i2v, motion.flow_v2i)))
