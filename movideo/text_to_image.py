"""Key frames from text: any text-to-image pipeline of diffusers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from movideo.errors import UserError
from movideo.hub.needs import PIPELINE_FILES, WeightSpec
from movideo.hub.weight_files import LOADING_ERRORS, first_line
from movideo.video.decoding.pixels import fit

logger = logging.getLogger(__name__)


class TextToImage:
    """Draws pictures of prompts. The only place of the method that text enters.

    Pictures are drawn at the size that the pipeline was trained for, then resized and cropped to
    the one asked for.

    Args:
        pretrained: a hub id or a local folder in diffusers' layout, weights in safetensors.
        revision: the hub revision to pin.
        num_inference_steps: denoising steps; the pipeline's own default otherwise.
        guidance_scale: how closely pictures follow their prompts; likewise.
        draw_size: `(H, W)` that pictures are drawn at; likewise.
        dtype: of the networks; the smaller ones are for GPUs.

    Raises:
        UserError: the weights are missing, damaged, not safetensors, or of another kind.

    Attributes:
        pipeline: diffusers' own.
        settings: the arguments; plain values.
    """

    weight_spec = WeightSpec(files=PIPELINE_FILES)

    def __init__(
        self,
        pretrained: str,
        revision: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        draw_size: tuple[int, int] | None = None,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    ) -> None:
        # Imports every pipeline of diffusers, which takes seconds; stages only name this class.
        from diffusers import AutoPipelineForText2Image

        self.settings: dict[str, Any] = {
            "pretrained": pretrained,
            "revision": revision,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "draw_size": None if draw_size is None else list(draw_size),
            "dtype": dtype,
        }
        height, width = draw_size or (None, None)
        asked = {
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "height": height,
            "width": width,
        }
        self._options = {name: value for name, value in asked.items() if value is not None}
        try:
            self.pipeline: Any = AutoPipelineForText2Image.from_pretrained(
                pretrained,
                revision=revision,
                torch_dtype=getattr(torch, dtype),
                use_safetensors=True,
                low_cpu_mem_usage=False,  # the other way needs accelerate
            )
        except (*LOADING_ERRORS, TypeError, AttributeError) as error:
            raise UserError(
                f"{pretrained}: no text-to-image pipeline could be loaded ({first_line(error)}); "
                "name a folder or hub id of one of diffusers', with its weights in safetensors"
            ) from error
        self.pipeline.set_progress_bar_config(desc="key frame", delay=2, leave=False)

    def to(self, device: torch.device | str) -> TextToImage:
        """Moves all networks."""
        self.pipeline.to(device)
        return self

    @torch.no_grad()
    def __call__(
        self,
        prompts: Sequence[str],
        size: tuple[int, int],
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> Tensor:
        """Draws one picture a prompt.

        Args:
            prompts: B of them.
            size: `(H, W)` of the pictures.
            generator: the only source of randomness, on the CPU; one, or one a prompt.

        Returns:
            `(B, 3, H, W)` RGB in [-1, 1], float32.

        Raises:
            UserError: the pipeline does not take the settings.
        """
        try:
            drawn = self.pipeline(
                list(prompts), generator=generator, output_type="pt", **self._options
            )
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{self.settings['pretrained']}: refuses its settings ({first_line(error)}); "
                "change those of text_to_image"
            ) from error
        flags = getattr(drawn, "nsfw_content_detected", None) or [False] * len(prompts)
        for prompt, is_flagged in zip(prompts, flags, strict=True):
            if is_flagged:
                logger.warning("%s: blackened by the pipeline's safety checker", prompt)
        return fit(drawn.images.float() * 2 - 1, size).clamp(-1, 1)


def required(text_to_image: TextToImage | None) -> TextToImage:
    """What a stage was given, where there are prompts.

    Raises:
        UserError: nothing.
    """
    if text_to_image is None:
        raise UserError(
            "model.text_to_image: null, but there are prompts; give it "
            "--model.text_to_image movideo.text_to_image.TextToImage and its .pretrained"
        )
    return text_to_image
