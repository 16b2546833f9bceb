"""Optical flow by a trained network: RAFT as torchvision has it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.optical_flow import raft_large, raft_small

from movideo.errors import UserError
from movideo.estimators.base import JSON, FlowEstimator
from movideo.hub.weight_files import LOADING_ERRORS, fingerprint, first_line, read_state_dict
from movideo.ops import resize_flow

NETWORKS = {"large": raft_large, "small": raft_small}
WEIGHTS = {"large": "Raft_Large_Weights", "small": "Raft_Small_Weights"}
SHORTEST = 128  # pixels a side: below, RAFT's correlation pyramid has no last level
MULTIPLE = 8  # of pixels a side: its features are an eighth of the image


class RAFT(FlowEstimator):
    """RAFT (Teed & Deng 2020), the same result on every call.

    Images with a side that is not a multiple of 8, or shorter than 128, are resized for it, and the
    flow is brought back.

    Args:
        pretrained: the name of torchvision's weights (`Raft_Large_Weights.C_T_SKHT_V2`), from its
            hub or torch's cache of it; a `.pth`, `.pt` or `.safetensors` file with such weights; or
            null for random ones, drawn from `seed`.
        size: of the network, `large` or `small`.
        num_flow_updates: refinements of the flow.
        seed: what random weights are drawn from.

    Raises:
        UserError: the weights cannot be loaded.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        size: Literal["large", "small"] = "large",
        num_flow_updates: int = 12,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if num_flow_updates < 1:
            raise UserError(f"num_flow_updates: {num_flow_updates}; RAFT needs at least 1")
        self.size = size
        self.num_flow_updates = num_flow_updates
        with torch.random.fork_rng(devices=[]):  # layers fill themselves from the global generator
            torch.manual_seed(seed)
            self.network = NETWORKS[size]()
        if pretrained is not None:
            self._load(pretrained)
        self.eval().requires_grad_(False)
        self.fingerprint = fingerprint(self.network)

    def _load(self, pretrained: str) -> None:
        family = WEIGHTS[self.size]
        try:
            self.network.load_state_dict(read_state_dict(pretrained, family))
        except LOADING_ERRORS as error:
            raise UserError(
                f"pretrained: {pretrained} cannot be loaded as RAFT {self.size} "
                f"({first_line(error)}); name a .pth, .pt or .safetensors file with torchvision's "
                f"weights of it, {family}.DEFAULT where its hub can be reached, or null for random "
                "weights"
            ) from error

    def init_args(self) -> dict[str, JSON]:
        """The weights by their hash, wherever they lie, and how often flow is refined."""
        return {
            "size": self.size,
            "num_flow_updates": self.num_flow_updates,
            "weights": self.fingerprint,
        }

    @torch.no_grad()
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """See `FlowEstimator.forward`; every size from 1x1 on is accepted."""
        height, width = source.shape[-2:]
        wanted = _accepted_size(height, width)
        pair = (_resized(images.float(), wanted) for images in (source, target))
        flow: Tensor = self.network(*pair, num_flow_updates=self.num_flow_updates)[-1]
        return resize_flow(flow, (height, width))


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def _accepted_size(height: int, width: int) -> tuple[int, int]:
    """The nearest size that RAFT takes, of nearly the same shape."""
    factor = max(1.0, SHORTEST / min(height, width))

    def accepted(side: int) -> int:
        return max(SHORTEST, MULTIPLE * round(side * factor / MULTIPLE))

    return accepted(height), accepted(width)
