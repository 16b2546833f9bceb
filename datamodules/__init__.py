"""LightningDataModules."""

from datamodules.davis import DAVIS
from datamodules.evaluation import EvaluationDataModule
from datamodules.key_frames import KeyFrameDataModule
from datamodules.msrvtt import MSRVTT
from datamodules.prompts import PromptList
from datamodules.ucf101 import UCF101
from datamodules.video_clips import VideoClipDataModule

__all__ = [
    "DAVIS",
    "MSRVTT",
    "UCF101",
    "EvaluationDataModule",
    "KeyFrameDataModule",
    "PromptList",
    "VideoClipDataModule",
]
