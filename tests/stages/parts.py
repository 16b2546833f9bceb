"""Tiny parts, random clips and a data module for the stages' tests."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from diffusers import DDIMScheduler
from torch.utils.data import DataLoader, Dataset

from movideo.losses import (
    AdversarialLoss,
    FramePerceptualLoss,
    S3DFeatures,
    VGG16Features,
    VideoPerceptualLoss,
)
from movideo.metrics import PSNR, KeyFrameWarpError, RandomFeatureDistance
from movideo.models import ImageEncoder, PatchDiscriminator, SpatioTemporalUNet, VideoAutoencoder
from movideo.motion.space import MotionSpace
from movideo.pipeline import MoVideoPipeline
from movideo.shards.labels import LabelStatistics, ScaleLaw

FRAMES, SIZE, GRID = 3, (16, 16), (8, 8)
AUTOENCODER = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
    "mid_block_add_attention": False,
}
IMAGE_ENCODER = {
    "image_size": 16,
    "patch_size": 8,
    "width": 16,
    "layers": 1,
    "head_width": 8,
    "mlp_ratio": 2.0,
}
UNET = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 1,
    "cross_attention_dim": 8,
    "norm_num_groups": 4,
}
STATISTICS = LabelStatistics(
    depth_mean=0.125, depth_std=0.5, flow_std=0.25, scale_law=ScaleLaw(-2.0, 1.0, 0.5)
)


def autoencoder(pretrained: str | None = None) -> VideoAutoencoder:
    torch.manual_seed(0)
    return VideoAutoencoder(pretrained, AUTOENCODER)


def image_encoder(pretrained: str | None = None) -> ImageEncoder:
    torch.manual_seed(1)
    return ImageEncoder(pretrained, IMAGE_ENCODER)


def unet(
    channels: int,
    extra: int = 0,
    seed: int = 2,
    takes_scale: bool = False,
    token_dim: int = IMAGE_ENCODER["width"],
) -> SpatioTemporalUNet:
    """A UNet of `channels`, and `extra` ones for the condition, with nothing left at zero."""
    torch.manual_seed(seed)
    config = UNET | {"in_channels": channels, "out_channels": channels}
    model = SpatioTemporalUNet(
        config, channels + extra, channels, token_dim, takes_scale=takes_scale
    )
    for parameter in model.new_parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def tiny_pipeline() -> MoVideoPipeline:
    """The whole chain, its decoder the plain one."""
    return MoVideoPipeline(
        autoencoder=autoencoder(),
        image_encoder=image_encoder(),
        motion_unet=unet(5),
        motion_scheduler=scheduler(),
        motion_space=MotionSpace(GRID, 0.5, 0.25),
        video_unet=unet(4, extra=6, seed=3),
        video_scheduler=scheduler(),
    )


def motion_parts(**changes: Any) -> dict[str, Any]:
    """What `DepthFlowDiffusion` is made of."""
    parts = {
        "unet": unet(5),
        "image_encoder": image_encoder(),
        "noise_scheduler": scheduler(),
        "motion_grid": GRID,
        "allow_random": True,
        "num_inference_steps": 2,
        "ema_decay": 0.9,
    }
    return parts | changes


def video_parts(**changes: Any) -> dict[str, Any]:
    """What `LatentVideoDiffusion` is made of."""
    return motion_parts(unet=unet(4, extra=6), autoencoder=autoencoder()) | changes


def discriminator(dimensions: int, **options: Any) -> AdversarialLoss:
    torch.manual_seed(3 + dimensions)
    return AdversarialLoss(PatchDiscriminator(dimensions, width=8, layers=1), **options)


def decoder_parts(start_step: int = 0, **changes: Any) -> dict[str, Any]:
    """What `FlowDecoderGAN` is made of, all five terms of its loss."""
    parts = {
        "autoencoder": autoencoder(),
        "perceptual_2d": FramePerceptualLoss(VGG16Features(width=8)),
        "perceptual_3d": VideoPerceptualLoss(S3DFeatures()),
        "adversarial_2d": discriminator(2, start_step=start_step),
        "adversarial_3d": discriminator(3, start_step=start_step),
        "metrics": [PSNR(), RandomFeatureDistance(width=8), KeyFrameWarpError()],
        "motion_grid": GRID,
        "allow_random": True,
        "ema_decay": 0.9,
    }
    return parts | changes


def batch(count: int = 2, seed: int = 0, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Random clips, their flows zero at the key frame, as the data module makes batches."""
    samples = [sample(i, seed, size) for i in range(count)]
    stacked = {
        k: torch.stack([s[k] for s in samples]) for k, v in samples[0].items() if k != "name"
    }
    return {**stacked, "name": [s["name"] for s in samples]}


def sample(index: int, seed: int = 0, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1000 * seed + index)

    def smooth(channels: int) -> torch.Tensor:
        coarse = torch.randn(FRAMES, channels, 3, 3, generator=generator)
        return torch.nn.functional.interpolate(coarse, size, mode="bicubic")

    flows = smooth(2), smooth(2)
    for flow in flows:
        flow[FRAMES // 2] = 0
    return {
        "video": smooth(3).clamp(-1, 1),
        "fps": torch.tensor(3.0 + index),
        "key_index": torch.tensor(FRAMES // 2),
        "name": f"clip-{seed}-{index}",
        "depth": smooth(1),
        "flow_i2v": flows[0],
        "flow_v2i": flows[1],
    }


class Clips(Dataset[dict[str, Any]]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return sample(index)


class ClipData(L.LightningDataModule):
    """Random clips in a fixed order."""

    def __init__(self, count: int = 8, batch_size: int = 2) -> None:
        super().__init__()
        self.count, self.batch_size = count, batch_size

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        return DataLoader(Clips(self.count), self.batch_size)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return DataLoader(Clips(2), 2)

    test_dataloader = val_dataloader

    def label_statistics(self, space: MotionSpace) -> LabelStatistics:
        assert space.grid == GRID
        return STATISTICS


class TrainingLosses(L.Callback):
    """Collects the loss of every training batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.values.append(float(args[2]["loss"]))


def trainer(folder: object, steps: int, **options: Any) -> L.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": steps,
        "default_root_dir": str(folder),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
    }
    return L.Trainer(**(defaults | options))
