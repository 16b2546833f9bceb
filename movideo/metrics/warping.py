"""How far a video departs from the motion it should follow."""

import torch
from torch import Tensor

from movideo.metrics.clip_mean import ClipMean
from movideo.ops import warp


def warp_error(
    video: Tensor, flow_i2v: Tensor, visible: Tensor, key_index: int | Tensor | None = None
) -> Tensor:
    """Squared difference between each frame and the key frame warped onto it, where visible.

    `sum over f != k and p of m_f(p) |x_f(p) - W(x_k, o_f)(p)|^2 / sum of m_f(p)`, the square
    averaged over colours scaled to [0, 1], as in Lai et al. 2018; they compare neighbouring
    frames, this compares each with the key frame, whose own perfect match does not count.

    Args:
        video: RGB `(B, F, C, H, W)` in [-1, 1].
        flow_i2v: `(B, F, 2, H, W)` in pixels, on each frame's grid, pointing into the key frame.
        visible: `(B, F, 1, H, W)` in [0, 1]; 1 where the point is seen in the key frame.
        key_index: The key frame's index, one for all or `(B,)`; None for the centre, `F // 2`.

    Returns:
        `(B,)`, a squared difference with colours in [0, 1]; NaN for a clip with nothing visible
        but its key frame.
    """
    batch, num_frames = video.shape[:2]
    chosen = num_frames // 2 if key_index is None else key_index
    index = torch.as_tensor(chosen, device=video.device).expand(batch)
    key_frame = video[torch.arange(batch, device=video.device), index].unsqueeze(1).float()
    error = ((video.float() - warp(key_frame, flow_i2v)) / 2).square().mean(dim=2, keepdim=True)
    others = torch.arange(num_frames, device=video.device) != index[:, None]
    weights = visible.float() * others[:, :, None, None, None]
    return (error * weights).flatten(1).sum(dim=1) / weights.flatten(1).sum(dim=1)


class WarpError(ClipMean):
    """Mean over clips of `warp_error`."""

    higher_is_better = False

    def update(
        self,
        video: Tensor,
        flow_i2v: Tensor,
        visible: Tensor,
        key_index: int | Tensor | None = None,
    ) -> None:
        """Count some clips; arguments as for `warp_error`."""
        self.add(warp_error(video, flow_i2v, visible, key_index))
