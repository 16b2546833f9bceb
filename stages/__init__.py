"""The stages, one LightningModule each; names resolve on first use."""

from typing import TYPE_CHECKING

from movideo.lazy import resolver

if TYPE_CHECKING:
    from stages.depth_flow_diffusion import DepthFlowDiffusion
    from stages.flow_decoder_gan import FlowDecoderGAN
    from stages.latent_autoencoder import LatentAutoencoder
    from stages.latent_video_diffusion import LatentVideoDiffusion
    from stages.motion_regression import MotionRegression
    from stages.video_evaluation import VideoEvaluation
    from stages.video_generation import VideoGeneration

__all__ = [
    "DepthFlowDiffusion",
    "FlowDecoderGAN",
    "LatentAutoencoder",
    "LatentVideoDiffusion",
    "MotionRegression",
    "VideoEvaluation",
    "VideoGeneration",
]

TRAINED = (
    "LatentAutoencoder",
    "MotionRegression",
    "DepthFlowDiffusion",
    "LatentVideoDiffusion",
    "FlowDecoderGAN",
)
TESTED = (*TRAINED, "VideoGeneration", "VideoEvaluation")

__getattr__ = resolver(
    __name__,
    {
        "DepthFlowDiffusion": "depth_flow_diffusion",
        "FlowDecoderGAN": "flow_decoder_gan",
        "LatentAutoencoder": "latent_autoencoder",
        "LatentVideoDiffusion": "latent_video_diffusion",
        "MotionRegression": "motion_regression",
        "VideoEvaluation": "video_evaluation",
        "VideoGeneration": "video_generation",
    },
)
