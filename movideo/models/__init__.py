"""The networks, each importable without the libraries that only the others need.

`Backbone` is what stages 1 and 2 train, `SpatioTemporalUNet` (MoVideo Fig. 2) the paper's. Names
resolve on first use: diffusers and open_clip take seconds to import, and the command's help needs
neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from movideo.models.autoencoder import VideoAutoencoder
    from movideo.models.backbone import Backbone
    from movideo.models.decoder import (
        FlowAugmentedDecoder,
        FrameDecoder,
        TemporalDecoder,
        VideoDecoder,
    )
    from movideo.models.discriminator import PatchDiscriminator
    from movideo.models.image_encoder import ImageEncoder, PooledImageEncoder
    from movideo.models.unet import SpatioTemporalUNet, inflate_unet

__all__ = [
    "Backbone",
    "FlowAugmentedDecoder",
    "FrameDecoder",
    "ImageEncoder",
    "PatchDiscriminator",
    "PooledImageEncoder",
    "SpatioTemporalUNet",
    "TemporalDecoder",
    "VideoAutoencoder",
    "VideoDecoder",
    "inflate_unet",
]

_MODULES = {
    "Backbone": "backbone",
    "FlowAugmentedDecoder": "decoder",
    "FrameDecoder": "decoder",
    "ImageEncoder": "image_encoder",
    "PatchDiscriminator": "discriminator",
    "PooledImageEncoder": "image_encoder",
    "SpatioTemporalUNet": "unet",
    "TemporalDecoder": "decoder",
    "VideoAutoencoder": "autoencoder",
    "VideoDecoder": "decoder",
    "inflate_unet": "unet",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
