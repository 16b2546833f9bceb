"""An estimator: where the labels of depth or flow come from."""

import torch
from torch import Tensor

from movideo.estimators import DepthEstimator


class BrightnessDepth(DepthEstimator):
    """Bright is near: a cue for clips that are lit from the camera.

    `init_args` are stored with the labels, so that labels of other settings are told apart.
    """

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__()
        self.gamma = gamma

    def init_args(self) -> dict[str, float]:
        return {"gamma": self.gamma}

    def forward(self, video: Tensor) -> Tensor:
        luma = torch.tensor([0.299, 0.587, 0.114], device=video.device)
        brightness = (video * 0.5 + 0.5).mul(luma.view(3, 1, 1)).sum(dim=1, keepdim=True)
        return brightness**self.gamma
