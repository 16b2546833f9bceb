"""LightningDataModules."""

from datamodules.key_frames import KeyFrameDataModule
from datamodules.video_clips import VideoClipDataModule

__all__ = ["KeyFrameDataModule", "VideoClipDataModule"]
