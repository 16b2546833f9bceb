"""A loss: one more term that stage 3 is trained with."""

from torch import Tensor

from movideo.losses import VideoLoss


class TemporalDifferenceLoss(VideoLoss):
    """How far the changes from frame to frame are from those of the true clip: less flicker."""

    curve = "temporal_difference"

    def forward(self, decoded: Tensor, truth: Tensor) -> Tensor:
        return (decoded.float().diff(dim=1) - truth.float().diff(dim=1)).abs().mean()
