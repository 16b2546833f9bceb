"""The whole chain at inference: an image in, its motion, its latent video, a video out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

import movideo
from movideo.diffusion import ClassifierFreeGuidance, Denoiser, Guidance
from movideo.errors import UserError
from movideo.model_folder import ModelFolder, write_model
from movideo.models import (
    FrameDecoder,
    ImageEncoder,
    SpatioTemporalUNet,
    VideoAutoencoder,
    VideoDecoder,
)
from movideo.models.condition import motion_condition
from movideo.models.motion_space import CHANNELS, Motion, MotionSpace
from movideo.ops import visible_mask


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


class MoVideoPipeline:
    """All stages as one callable.

    Args:
        autoencoder: latents of the key frame.
        decoder: stage 3; the autoencoder's own, frame by frame, by default.
        image_encoder: tokens of the key frame.
        motion_unet: stage 1.
        motion_scheduler: its noise schedule and solver.
        motion_space: its channels, in pixels.
        video_unet: stage 2.
        video_scheduler: its noise schedule and solver.
    """

    COMPONENTS = (
        "autoencoder",
        "image_encoder",
        "motion_unet",
        "motion_scheduler",
        "motion_space",
        "video_unet",
        "video_scheduler",
        "decoder",
    )

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        image_encoder: ImageEncoder,
        motion_unet: SpatioTemporalUNet,
        motion_scheduler: SchedulerMixin,
        motion_space: MotionSpace,
        video_unet: SpatioTemporalUNet,
        video_scheduler: SchedulerMixin,
        decoder: VideoDecoder | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.image_encoder = image_encoder
        self.motion_unet = motion_unet
        self.motion_scheduler = motion_scheduler
        self.motion_space = motion_space
        self.video_unet = video_unet
        self.video_scheduler = video_scheduler
        self.decoder = decoder or FrameDecoder(autoencoder)
        for module in (autoencoder, image_encoder, motion_unet, video_unet, self.decoder):
            module.eval().requires_grad_(False)

    def to(self, device: torch.device | str) -> MoVideoPipeline:
        """Moves all networks."""
        for module in (
            self.autoencoder,
            self.image_encoder,
            self.motion_unet,
            self.video_unet,
            self.decoder,
        ):
            module.to(device)
        return self

    # --------------------------------------------------------------------------------- generation

    @torch.no_grad()
    def __call__(
        self,
        image: Tensor,
        fps: float | Tensor = 10.0,
        num_frames: int = 17,
        key_index: int | Tensor | None = None,
        num_inference_steps: int = 50,
        generator: torch.Generator | list[torch.Generator] | None = None,
        motion: Motion | None = None,
        guidance: Guidance | None = None,
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

        Raises:
            UserError: a size, rate, index or shape does not fit.
        """
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
        video = self._generate_video(image, motion, shape, size, bound, options)
        visible = visible_mask(motion.flow_i2v, motion.flow_v2i)
        return MoVideoOutput(video, motion.depth, motion.flow_i2v, motion.flow_v2i, visible)

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
        device = next(self.video_unet.parameters()).device
        image = image.to(device)
        return image, {
            "tokens": self.image_encoder(image),
            "fps": rate.to(device),
            "key_index": key.to(device),
        }

    def _generate_motion(
        self,
        shape: tuple[int, int],
        size: tuple[int, int],
        bound: dict[str, Any],
        options: dict[str, Any],
    ) -> Motion:
        denoiser = Denoiser(self.motion_unet, **bound, condition=None)
        sample = denoiser.sample(
            self.motion_scheduler,
            (*shape, CHANNELS, *self.motion_space.grid),
            **options,
            progress="motion",
        )
        return self.motion_space.decode(sample, bound["key_index"], size)

    def _generate_video(
        self,
        image: Tensor,
        motion: Motion,
        shape: tuple[int, int],
        size: tuple[int, int],
        bound: dict[str, Any],
        options: dict[str, Any],
    ) -> Tensor:
        key_latent = self.autoencoder.encode(image[:, None])[:, 0]
        condition = motion_condition(
            motion.depth,
            motion.flow_i2v,
            motion.flow_v2i,
            key_latent,
            size=size,
            motion_grid=self.motion_space.grid,
        )
        denoiser = Denoiser(self.video_unet, **bound, condition=condition.channels())
        latents = denoiser.sample(
            self.video_scheduler, (*shape, *key_latent.shape[1:]), **options, progress="video"
        )
        video: Tensor = self.decoder(latents, motion.flow_i2v, bound["key_index"])
        return video.clamp(-1, 1)

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
        """Writes a folder for each part and `model_index.json`."""
        parts = {name: getattr(self, name) for name in self.COMPONENTS}
        about = {"_class_name": type(self).__name__, "_movideo_version": movideo.__version__}
        write_model(folder, about, parts)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MoVideoPipeline:
        """Reads what `save_pretrained` wrote.

        Args:
            folder: its place, or `embedded` for the small model that movideo brings along.

        Raises:
            UserError: the folder is missing or not such a folder.
        """
        model = ModelFolder(folder)
        return cls(**{name: model.load(name) for name in cls.COMPONENTS})


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
