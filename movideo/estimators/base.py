"""What a depth estimator and a flow estimator look like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


class Estimator(nn.Module, ABC):
    """A estimator whose name and settings are stored beside the labels that it made.

    Attributes:
        version: of the algorithm; rises when the same arguments come to give other labels.
    """

    version: ClassVar[int] = 1

    def settings(self) -> dict[str, JSON]:
        """What the labels depend on: those with equal settings are interchangeable."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"class_path": path, "version": self.version, "init_args": self.init_args()}

    @abstractmethod
    def init_args(self) -> dict[str, JSON]:
        """The constructor arguments that change the result."""


class FlowEstimator(Estimator):
    """Dense optical flow between two images."""

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Estimates where each point of `source` is found in `target`.

        Args:
            source: `(N, 3, H, W)`, RGB in [-1, 1].
            target: `(N, 3, H, W)`, RGB in [-1, 1].

        Returns:
            `(N, 2, H, W)`, pixels, (right, down): `warp(target, flow)` looks like `source`.
        """


class DepthEstimator(Estimator):
    """Relative inverse depth of the frames of one clip."""

    @abstractmethod
    def forward(self, video: Tensor) -> Tensor:
        """Estimates how near each pixel is.

        Args:
            video: `(F, 3, H, W)`, RGB in [-1, 1].

        Returns:
            `(F, 1, H, W)`, relative inverse depth: near is large, scale and shift are free.
        """
