"""LightningDataModules."""

from datamodules.video_clips import VideoClipDataModule

__all__ = ["VideoClipDataModule"]
