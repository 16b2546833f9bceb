"""A data set: what a table is measured on."""

from pathlib import Path
from typing import Any

from datamodules.evaluation import Description, EvaluationDataModule, Sample, TrueClip
from movideo.clips.sources import find_videos


class VideoFolder(EvaluationDataModule):
    """Every video of a folder, one clip from the middle of each."""

    data_set = "videos of a folder"

    def __init__(self, folder: str, fps: float | None = None, **options: Any) -> None:
        self.folder = folder
        super().__init__(fps=fps, **options)

    def videos(self) -> dict[str, Path]:
        return {path.stem: path for path in find_videos(self.folder)}

    def list_samples(self, clips: dict[str, TrueClip]) -> list[Sample]:
        return [Sample(name, clip=clip) for name, clip in clips.items()]

    def described(self) -> Description:
        return {"prompts": "none"}
