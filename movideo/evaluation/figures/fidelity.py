"""How close videos are to the true clips, pixel by pixel and to the eye of a network."""

from __future__ import annotations

from torch import Tensor

from movideo.errors import UserError
from movideo.hub.weight_files import fingerprint, torchvision_weights
from movideo.losses import FramePerceptualLoss, VGG16Features
from movideo.metrics import masked_psnr, structural_similarity
from movideo.metrics.base import Figure, Protocol
from movideo.metrics.clips import JudgedClips

MISSING_VGG16 = (
    "name torchvision's weights of VGG16 as its `pretrained`: the file vgg16-397923af.pth, or "
    f"{VGG16Features.weights_name} where its hub can be reached"
)


class PSNR(Figure):
    """Peak signal-to-noise ratio against the true clip.

    The squared error is averaged over all frames, the key frame too, then turned into decibels.
    """

    name = "PSNR"
    unit = "dB"
    needs = ("truth",)
    higher_is_better = True

    def measure(self, clips: JudgedClips) -> Tensor:
        """See `Figure.measure`."""
        assert clips.truth is not None
        return masked_psnr(clips.video, clips.truth)

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {
            "frames": "all, the key frame too",
            "mean": "squared error over a clip, then decibels over clips",
        }


class SSIM(Figure):
    """Structural similarity to the true clip, by `structural_similarity`."""

    name = "SSIM"
    needs = ("truth",)
    higher_is_better = True

    def measure(self, clips: JudgedClips) -> Tensor:
        """See `Figure.measure`."""
        assert clips.truth is not None
        return structural_similarity(clips.video, clips.truth)

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {
            "frames": "all, the key frame too",
            "window": "Gaussian, 11 pixels, deviation 1.5; colours one by one",
        }


class PerceptualFigure(Figure):
    """A perceptual distance to the true clip, averaged over all frames.

    Args:
        distance: what compares them.
    """

    needs = ("truth",)
    higher_is_better = False

    def __init__(self, distance: FramePerceptualLoss) -> None:
        super().__init__()
        self.distance = distance

    def measure(self, clips: JudgedClips) -> Tensor:
        """See `Figure.measure`."""
        assert clips.truth is not None
        return self.distance.distances(clips.video, clips.truth)

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {
            "frames": "all, the key frame too",
            "resize": "none",
            "extractor": f"VGG16, weights {fingerprint(self.distance.backbone)}",
        }


class LPIPS(PerceptualFigure):
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

    def unavailable(self) -> str | None:
        """See `Figure.unavailable`."""
        return self.missing


class RandomFeatureDistance(PerceptualFigure):
    """The same distance through random weights: not LPIPS, but needs nothing.

    Args:
        width: channels of VGG16's first layers.
        seed: of the weights; not the one that decoders are trained with by default.
    """

    name = "random-feature distance"

    def __init__(self, width: int = 16, seed: int = 1) -> None:
        super().__init__(FramePerceptualLoss(VGG16Features(width=width, seed=seed)))
