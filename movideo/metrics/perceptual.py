"""How different two videos look to a network."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub.weight_files import fingerprint, torchvision_weights
from movideo.losses import FramePerceptualLoss, VGG16Features
from movideo.metrics.base import Description, VideoMetric
from movideo.metrics.clips import MeasuredClips

MISSING_VGG16 = (
    "name torchvision's weights of VGG16 as its `pretrained`: the file vgg16-397923af.pth, or "
    f"{VGG16Features.weights_name} where its hub can be reached"
)


class PerceptualMetric(VideoMetric):
    """A perceptual distance to the true clip, averaged over all frames.

    Args:
        distance: what compares them.
    """

    needs = ("truth",)
    higher_is_better = False

    def __init__(self, distance: FramePerceptualLoss) -> None:
        super().__init__()
        self.distance = distance

    @override
    def measure(self, clips: MeasuredClips) -> Tensor:
        assert clips.truth is not None
        return self.distance.distances(clips.video, clips.truth)

    @override
    def protocol(self) -> Description:
        return super().protocol() | {
            "frames": "all, the key frame too",
            "resize": "none",
            "extractor": f"VGG16, weights {fingerprint(self.distance.backbone)}",
        }


class LPIPS(PerceptualMetric):
    """LPIPS (Zhang et al. 2018) with VGG16.

    Args:
        pretrained: VGG16's weights, see `movideo.losses.backbones`; null, or a name that cannot be
            had from torchvision's hub, makes it unavailable.

    Raises:
        UserError: the file cannot be loaded.
    """

    name = "LPIPS"

    def __init__(self, pretrained: str | None = None) -> None:
        backbone, missing = VGG16Features(width=1), MISSING_VGG16
        if pretrained is not None:
            try:
                backbone = VGG16Features(pretrained)
            except UserError as error:
                if torchvision_weights(pretrained) is None:
                    raise
                missing = str(error)
        super().__init__(FramePerceptualLoss(backbone))
        self.missing = missing if backbone.is_random else None

    @override
    def unavailable(self) -> str | None:
        return self.missing


class RandomFeatureDistance(PerceptualMetric):
    """The same distance through random weights: not LPIPS, but needs nothing.

    Args:
        width: channels of VGG16's first layers.
        seed: of the weights; not the one that decoders are trained with by default.
    """

    name = "random-feature distance"

    def __init__(self, width: int = 16, seed: int = 1) -> None:
        super().__init__(FramePerceptualLoss(VGG16Features(width=width, seed=seed)))
