"""The stages, one LightningModule each, in the order they are trained."""

from stages.depth_flow_diffusion import DepthFlowDiffusion
from stages.flow_decoder_gan import FlowDecoderGAN
from stages.latent_autoencoder import LatentAutoencoder
from stages.latent_video_diffusion import LatentVideoDiffusion
from stages.video_evaluation import VideoEvaluation
from stages.video_generation import VideoGeneration

__all__ = [
    "DepthFlowDiffusion",
    "FlowDecoderGAN",
    "LatentAutoencoder",
    "LatentVideoDiffusion",
    "VideoEvaluation",
    "VideoGeneration",
]
