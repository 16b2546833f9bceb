"""The difference in colours."""

from torch import Tensor
from torch.nn.functional import l1_loss

from movideo.losses.base import VideoLoss, in_float32


class L1Loss(VideoLoss):
    """Mean absolute difference over all pixels and colours, which span 2 (MoVideo Eq. 18)."""

    @property
    def curve(self) -> str:
        """Always `l1`."""
        return "l1"

    @in_float32
    def forward(self, decoded: Tensor, truth: Tensor) -> Tensor:
        """Compare two videos `(B, F, 3, H, W)`; a scalar in [0, 2], more only by overshoot."""
        return l1_loss(decoded, truth)
