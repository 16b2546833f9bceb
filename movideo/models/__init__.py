"""The networks, each importable without the libraries that only the others need.

`Backbone` is what stages 1 and 2 train, `SpatioTemporalUNet` (MoVideo Fig. 2) the paper's.
"""

from typing import TYPE_CHECKING

from movideo.lazy import resolver

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

__getattr__ = resolver(
    __name__,
    {
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
    },
)
