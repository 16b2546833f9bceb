"""Differences in what frozen networks see."""

from abc import abstractmethod
from collections.abc import Sequence
from importlib.resources import files

import torch
from torch import Tensor

from movideo.losses.backbones import Backbone, S3DFeatures, VGG16Features
from movideo.losses.base import VideoLoss, in_float32

# Under the root, so that a place without any response has a slope.
EPSILON = 1e-8


def feature_distance(
    first: Sequence[Tensor], second: Sequence[Tensor], weights: Sequence[Tensor]
) -> Tensor:
    """Distance between the features of two inputs (Zhang et al. 2018, Eq. 1).

    The features of each place are scaled to length 1; their squared difference is weighted over
    channels, averaged over places and summed over levels.

    Args:
        first: one tensor a level, `(N, C, ...)`.
        second: the same of the other input.
        weights: `(C,)` a level; those of deeper levels than there are features go unused.

    Returns:
        `(N,)`, 0 where the features are equal.
    """
    distance = first[0].new_zeros(len(first[0]))
    for one, other, weight in zip(first, second, weights, strict=False):
        difference = (_unit(one) - _unit(other)).square().flatten(2).mean(dim=2)
        distance = distance + difference @ weight
    return distance


class PerceptualLoss(VideoLoss):
    """Mean over clips of `feature_distance`.

    Args:
        backbone: the network to see through.
        channel_weights: `(C,)` a level; None for 1 each.
        weight: as for every `VideoLoss`.
        start_step: as for every `VideoLoss`.
    """

    channel_weights: Tensor

    def __init__(
        self,
        backbone: Backbone,
        channel_weights: list[Tensor] | None,
        weight: float,
        start_step: int,
    ) -> None:
        super().__init__(weight, start_step)
        self.backbone = backbone
        chosen = channel_weights or [torch.ones(c) for c in backbone.channels]
        self.register_buffer("channel_weights", torch.cat(chosen), persistent=False)

    @abstractmethod
    def features(self, video: Tensor) -> list[Tensor]:
        """Features of `(B, F, 3, H, W)`, one tensor a level, `(B * n, C, ...)`."""

    @in_float32
    def distances(self, decoded: Tensor, truth: Tensor) -> Tensor:
        """Compare the clips of two videos `(B, F, 3, H, W)` in [-1, 1]; `(B,)`, each at least 0."""
        with torch.no_grad():
            target = self.features(truth)
        weights = self.channel_weights.split(self.backbone.channels)
        distances = feature_distance(self.features(decoded), target, weights)
        return distances.view(len(decoded), -1).mean(dim=1)

    def forward(self, decoded: Tensor, truth: Tensor) -> Tensor:
        """Average `distances` over the clips; a scalar. No gradient flows to `truth`."""
        return self.distances(decoded, truth).mean()


class FramePerceptualLoss(PerceptualLoss):
    """LPIPS (Zhang et al. 2018) between frames, averaged over them: the 2-D term of MoVideo Eq. 18.

    A pretrained network is compared with LPIPS' trained weights of its channels, a random one with
    all channels alike.

    Args:
        backbone: what looks at the frames; a random VGG16 by default.
        weight: as for every `VideoLoss`.
        start_step: as for every `VideoLoss`.
    """

    def __init__(
        self, backbone: VGG16Features | None = None, weight: float = 1.0, start_step: int = 0
    ) -> None:
        backbone = backbone or VGG16Features()
        channel_weights = None if backbone.is_random else _lpips_weights(len(backbone.channels))
        super().__init__(backbone, channel_weights, weight, start_step)

    @property
    def curve(self) -> str:
        """Says whether the metric is LPIPS."""
        return f"perceptual_2d_{'random-features' if self.backbone.is_random else 'lpips'}"

    def features(self, video: Tensor) -> list[Tensor]:
        """Features of every frame by itself, `(B * F, C, h, w)`."""
        levels: list[Tensor] = self.backbone(video.flatten(0, 1))
        return levels


class VideoPerceptualLoss(PerceptualLoss):
    """The same distance between whole clips: the 3-D term of MoVideo Eq. 18.

    S3D's features, as in the paper; nobody trained weights for its channels, so all count alike.

    Args:
        backbone: what looks at the clips; a random S3D by default.
        weight: as for every `VideoLoss`.
        start_step: as for every `VideoLoss`.
    """

    def __init__(
        self, backbone: S3DFeatures | None = None, weight: float = 1.0, start_step: int = 0
    ) -> None:
        super().__init__(backbone or S3DFeatures(), None, weight, start_step)

    @property
    def curve(self) -> str:
        """Says whether the features were trained."""
        return f"perceptual_3d_{'random-features' if self.backbone.is_random else 's3d'}"

    def features(self, video: Tensor) -> list[Tensor]:
        """Features of every clip, `(B, C, f, h, w)`."""
        levels: list[Tensor] = self.backbone(video)
        return levels


def _unit(features: Tensor) -> Tensor:
    """Scales the channels of each place to length 1."""
    return features / (features.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()


def _lpips_weights(levels: int) -> list[Tensor]:
    """Reads LPIPS' weights of VGG16's channels, `(C,)` a level; torchmetrics ships them."""
    path = files("torchmetrics") / "functional" / "image" / "lpips_models" / "vgg.pth"
    with path.open("rb") as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
    return [state[f"lin{level}.model.1.weight"].flatten() for level in range(levels)]
