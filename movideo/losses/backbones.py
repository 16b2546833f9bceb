"""Frozen networks whose features perceptual losses compare.

Each takes `pretrained`, one of

- null: random weights, drawn from `seed` alone;
- a local `.pth`, `.pt` or `.safetensors` file: torchvision's state dict of the network, whole
  (`features.0.weight`, ...) or of its `features` alone (`0.weight`, ...);
- the name of torchvision's own weights, which come from its hub, or from torch's cache of it.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torchvision.models.vgg import make_layers
from torchvision.models.video import s3d

from movideo.errors import UserError
from movideo.hub.weight_files import LOADING_ERRORS, first_line, read_state_dict

# Convolutions of VGG16 between poolings, in units of the first one's width.
VGG16_BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))

# The layers of torchvision's S3D whose output is a level: the last ones before it halves the sides,
# with their channels. What follows the last max-pool is left out: it needs 2 frames at that depth.
S3D_LEVELS = {0: 64, 3: 192, 6: 480, 12: 832}


class Backbone(nn.Module, ABC):
    """A frozen stack of layers: never trained, always in evaluation mode, open to gradients.

    Attributes:
        channels: channels of each level, shallow to deep.
        is_random: whether the weights are random.
    """

    weights_name: ClassVar[str]
    mean: Tensor
    std: Tensor

    def __init__(self, channels: tuple[int, ...], pretrained: str | None, seed: int) -> None:
        super().__init__()
        self.channels = channels
        self.is_random = pretrained is None
        with torch.random.fork_rng(devices=[]):  # layers fill themselves from the global generator
            self.features = self._layers()
        if pretrained is None:
            _randomise(self.features, torch.Generator().manual_seed(seed))
        else:
            self._load(pretrained)
        self.eval().requires_grad_(False)

    @abstractmethod
    def _layers(self) -> nn.Sequential:
        """The layers, with torchvision's names."""

    @abstractmethod
    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each level, `(N, channels, ...)`, shallow to deep."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    def _normalise_by(self, mean: list[float], std: list[float], dimensions: int) -> None:
        shape = (3,) + dimensions * (1,)
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(shape), persistent=False)

    def _load(self, pretrained: str) -> None:
        try:
            state = read_state_dict(pretrained, self.weights_name.partition(".")[0])
            own = {}
            for name, tensor in self.features.state_dict().items():
                found = state.get(f"features.{name}", state.get(name))
                if not isinstance(found, Tensor) or found.shape != tensor.shape:
                    raise ValueError(f"features.{name} is missing or of another shape")
                own[name] = found
            self.features.load_state_dict(own)
        except LOADING_ERRORS as error:
            raise UserError(
                f"pretrained: {pretrained} cannot be loaded ({first_line(error)}); name a .pth, "
                ".pt or .safetensors file with torchvision's weights of this network, "
                f"{self.weights_name} where its hub can be reached, or null for random weights"
            ) from error


class VGG16Features(Backbone):
    """VGG16 (Simonyan & Zisserman 2015) up to relu5_3, with the input scaling of LPIPS.

    Args:
        pretrained: null, a file or `VGG16_Weights.IMAGENET1K_V1`; see the module.
        width: channels of the first layers; narrower than 64 only with random weights.
        seed: what random weights are drawn from.

    Raises:
        UserError: the weights cannot be loaded, or are asked for at another width than 64.
    """

    weights_name = "VGG16_Weights.IMAGENET1K_V1"

    def __init__(self, pretrained: str | None = None, width: int = 64, seed: int = 0) -> None:
        if width < 1:
            raise UserError(f"width: {width}; VGG16 needs at least 1 channel")
        if pretrained is not None and width != 64:
            raise UserError(
                f"width: {width}; pretrained weights of VGG16 are 64 wide: "
                "leave the width at 64 or set pretrained to null"
            )
        super().__init__(tuple(width * block[-1] for block in VGG16_BLOCKS), pretrained, seed)
        self._normalise_by([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450], dimensions=2)

    def _layers(self) -> nn.Sequential:
        width = self.channels[0]
        plan = [step for block in VGG16_BLOCKS for step in (*(width * n for n in block), "M")]
        layers: nn.Sequential = make_layers(plan)[:-1]
        return layers

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Compute the features before each pooling.

        Args:
            frames: `(N, 3, H, W)` in [-1, 1].

        Returns:
            relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 as `(N, channels, H / 2^i, W / 2^i)`; fewer
            where a side would get shorter than 1.
        """
        x, levels = (frames - self.mean) / self.std, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                levels.append(x)
                if min(x.shape[-2:]) < 2:
                    return levels
            x = layer(x)
        return [*levels, x]


class S3DFeatures(Backbone):
    """S3D (Xie et al. 2018) up to its last max-pool, with the input scaling of Kinetics.

    Args:
        pretrained: null, a file or `S3D_Weights.KINETICS400_V1`; see the module.
        seed: what random weights are drawn from.

    Raises:
        UserError: the weights cannot be loaded.
    """

    weights_name = "S3D_Weights.KINETICS400_V1"

    def __init__(self, pretrained: str | None = None, seed: int = 0) -> None:
        super().__init__(tuple(S3D_LEVELS.values()), pretrained, seed)
        self._normalise_by([0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989], dimensions=3)

    def _layers(self) -> nn.Sequential:
        layers: nn.Sequential = s3d().features[: max(S3D_LEVELS) + 1]
        return layers

    def forward(self, video: Tensor) -> list[Tensor]:
        """Compute the features at four depths.

        Args:
            video: `(B, F, 3, H, W)` in [-1, 1], of any size.

        Returns:
            `(B, channels, f, h, w)`: sides 1/2, 1/4, 1/8, 1/16 and frames 1/2, 1/2, 1/2, 1/4 of the
            video's, rounded up.
        """
        x, levels = ((video.transpose(1, 2) + 1) / 2 - self.mean) / self.std, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in S3D_LEVELS:
                levels.append(x)
        return levels


def _randomise(layers: nn.Module, generator: torch.Generator) -> None:
    """Draws weights that keep the scale of what passes through rectified layers, at any depth."""
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
