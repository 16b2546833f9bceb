"""Depth by a trained network: any that transformers has for depth estimation."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.estimators.base import JSON, DepthEstimator
from movideo.hub.needs import WeightSpec
from movideo.hub.weight_files import LOADING_ERRORS, fingerprint, first_line

Quantity: TypeAlias = Literal["inverse_depth", "depth"]

# What the networks of each kind give; Depth Anything's config says it itself.
GIVES: dict[str, Quantity] = {
    "depth_pro": "inverse_depth",
    "dpt": "inverse_depth",  # as MiDaS trained it
    "glpn": "depth",
    "zoedepth": "depth",
}
NEAREST = 0.1  # metres: what is nearer counts as this near, or one pixel would outweigh a clip
FRAMES_AT_ONCE = 4


class TransformersDepth(DepthEstimator):
    """Relative inverse depth of every frame by itself, through the network's own preprocessing.

    Depth Anything (1 and 2) and DPT give relative inverse depth, which is passed on. Networks of
    metric depth are inverted, `1 / max(depth, 0.1 m)`. A network of which neither is known is
    refused unless `gives` says it; so are the few of DPT's kind that were trained on metric depth
    not told apart by their config: set it there too.

    Args:
        pretrained: a folder that transformers wrote, or a hub id such as
            `depth-anything/Depth-Anything-V2-Small-hf`.
        revision: the hub revision to pin.
        gives: what the network gives, where its config does not say it or says it wrongly.

    Raises:
        UserError: the weights are missing, incomplete or of another kind, or what they give is
            unknown.
    """

    weight_spec = WeightSpec(files=("config.json", "preprocessor_config.json", "model.safetensors"))

    def __init__(
        self, pretrained: str, revision: str | None = None, gives: Quantity | None = None
    ) -> None:
        super().__init__()
        self.processor, self.network = _load(pretrained, revision)
        known = _gives(self.network.config)
        if gives is None and known is None:
            raise UserError(
                f"{pretrained}: whether {self.network.config.model_type} gives depth or inverse "
                "depth is not known here; say it with `gives`"
            )
        self.gives = gives or known
        self.eval().requires_grad_(False)
        self.fingerprint = fingerprint(self.network, _json(self.processor.to_dict()))

    def init_args(self) -> dict[str, JSON]:
        """Weights and preprocessing by their hash, wherever they lie."""
        return {"weights": self.fingerprint, "gives": self.gives}

    @torch.no_grad()
    @override
    def forward(self, video: Tensor) -> Tensor:
        found = torch.cat([self._estimate(frames) for frames in video.split(FRAMES_AT_ONCE)])
        resized = F.interpolate(
            found[:, None].float(), video.shape[-2:], mode="bilinear", align_corners=False
        )
        return resized if self.gives == "inverse_depth" else 1 / resized.clamp_min(NEAREST)

    def _estimate(self, frames: Tensor) -> Tensor:
        """What the network gives at its own size, `(N, h, w)`."""
        images = list((frames.float() + 1).div(2).clamp(0, 1))
        prepared = self.processor(images=images, do_rescale=False, return_tensors="pt")
        pixels = prepared["pixel_values"].to(frames.device)
        depth: Tensor = self.network(pixel_values=pixels).predicted_depth
        return depth


def _load(pretrained: str, revision: str | None) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation  # seconds to import

    try:
        processor = AutoImageProcessor.from_pretrained(pretrained, revision=revision)
        network, info = AutoModelForDepthEstimation.from_pretrained(
            pretrained,
            revision=revision,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        missing = sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"]))
        if missing:  # transformers would leave these random with a warning
            raise ValueError(f"{missing[0]} is missing or of another shape")
    except LOADING_ERRORS as error:
        raise UserError(
            f"{pretrained}: no depth network could be loaded ({first_line(error)}); name a folder "
            "that transformers wrote, with its image processor and safetensors, or a hub id"
        ) from error
    if getattr(processor, "do_pad", False):  # the border would have to be cut off again
        processor.do_pad = False
    return processor, network


def _gives(config: Any) -> Quantity | None:
    if config.model_type == "depth_anything":
        return "inverse_depth" if config.depth_estimation_type == "relative" else "depth"
    return GIVES.get(config.model_type)


def _json(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what says where it came from and not what it does."""
    return {k: v if _is_plain(v) else str(v) for k, v in settings.items() if not k.startswith("_")}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | dict)
