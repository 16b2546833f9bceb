"""Depth without weights: what moves unlike the background is taken to be near."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from movideo.estimators.base import JSON, DepthEstimator, FlowEstimator
from movideo.estimators.dis_flow import DISFlow

STEP = 2  # frames: at 30 fps the motion between direct neighbours is close to the flow's own error
ROUNDS = 10  # of re-weighting; the fit no longer moves after that
NOISE = 0.05  # pixels: the error of the flow on a plain shift
EDGE_VARIANCE = 1e-2  # of the guide in [0, 1]: weaker texture is smoothed over
COEFFICIENTS = 64  # pixels on the shorter side of the grid that the blur is computed on


class ParallaxDepth(DepthEstimator):
    """Relative inverse depth from motion parallax: a cue, not a measurement.

    When a camera moves past a scene, near things move more in the image than the background does.
    So the motion that most of the image shares is fitted and taken away, and the length of what is
    left is read as nearness. This is wrong where things move by themselves at a distance, where a
    near thing stands still relative to the background or fills most of the image, and it says
    nothing where nothing moves: the result is then flat. On 24 synthetic 64x64 scenes of
    `movideo.scenes.render` its rank correlation with the true inverse depth is 0.54 on average and
    never negative. Where depth matters, use a trained estimator.

    Args:
        flow_estimator: measures the motion; `DISFlow(enlarge=False)` by default.
    """

    version = 2

    def __init__(self, flow_estimator: FlowEstimator | None = None) -> None:
        super().__init__()
        # Between near frames, enlarging changes nothing: 0.54 either way, at four times the time.
        self.flow_estimator = flow_estimator or DISFlow(enlarge=False)

    @override
    def init_args(self) -> dict[str, JSON]:
        return {"flow_estimator": self.flow_estimator.settings()}

    @torch.no_grad()
    def forward(self, video: Tensor) -> Tensor:
        """See `DepthEstimator.forward`; values lie in [0, 1), 0 moves with the background."""
        parallax = self._parallax(video)
        smooth = _smooth_along_edges(parallax, video)
        # The mean over the clip, not the frame, keeps the scale steady over time. The quotient
        # keeps one fast pixel from flattening everything else when depth is brought to [-1, 1].
        return smooth / (smooth + smooth.mean() + NOISE)

    def _parallax(self, video: Tensor) -> Tensor:
        """Length of the motion that the background does not share, `(F, 1, H, W)`, pixels."""
        frames = len(video)
        step = min(STEP, frames // 2)
        total = torch.zeros_like(video[:, :2])
        if step == 0:
            return total[:, :1]
        count = video.new_zeros(frames, 1, 1, 1)
        early, late = slice(0, frames - step), slice(step, frames)
        # A thing that moves evenly has opposite motion towards the past: the signed mean halves the
        # noise.
        for sign, here, there in ((1, early, late), (-1, late, early)):
            total[here] += sign * remove_dominant_motion(
                self.flow_estimator(video[here], video[there])
            )
            count[here] += 1
        mean = total / count
        return torch.hypot(mean[:, :1], mean[:, 1:])


def remove_dominant_motion(flow: Tensor) -> Tensor:
    """Subtracts the affine motion that most pixels follow.

    Iteratively re-weighted least squares with Geman-McClure weights, started from the median
    motion; the scale of the weights is the median residual.

    Args:
        flow: `(N, 2, H, W)`, pixels.

    Returns:
        `(N, 2, H, W)`, pixels, near 0 where the pixel follows the dominant motion.
    """
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=flow.device),
        torch.linspace(-1, 1, width, device=flow.device),
        indexing="ij",
    )
    basis = torch.stack([torch.ones_like(x), x, y], dim=-1).flatten(0, 1)
    motion = flow.flatten(2).transpose(1, 2)
    residual = motion - motion.median(dim=1, keepdim=True).values
    ridge = 1e-6 * torch.eye(3, device=flow.device)  # an image one pixel wide has no slope
    for _ in range(ROUNDS):
        length = torch.hypot(*residual.unbind(dim=2))
        scale = length.median(dim=1, keepdim=True).values.clamp_min(NOISE)
        weighted = basis / (1 + (length / scale).square()).square().unsqueeze(2)
        affine = torch.linalg.solve(weighted.mT @ basis + ridge, weighted.mT @ motion)
        residual = motion - basis @ affine
    return residual.transpose(1, 2).reshape(flow.shape)


def _smooth_along_edges(field: Tensor, video: Tensor) -> Tensor:
    from kornia.filters import guided_blur  # a tenth of a second to import, to make labels alone

    shorter = min(video.shape[-2:])
    smooth: Tensor = guided_blur(
        (video + 1) / 2,
        field,
        2 * (shorter // 14) + 1,
        EDGE_VARIANCE,
        border_type="replicate",
        # So wide a blur is smooth: its coefficients on a grid of some 64 pixels do as well.
        subsample=max(1, shorter // COEFFICIENTS),
    )
    return smooth.clamp_min(0)
