"""A data set: what a table is measured on, and what is trained on."""

from pathlib import Path
from shutil import unpack_archive
from typing import Any

from datamodules import VideoClipDataModule
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


class ArchivedClips(VideoClipDataModule):
    """Clips to train on, of an archive that is unpacked on first use."""

    def __init__(self, archive: str, **options: Any) -> None:
        super().__init__(videos=str(Path(archive).with_suffix("")), **options)
        self.archive = Path(archive)

    def prepare_data(self) -> None:
        if not self.archive.with_suffix("").exists():
            unpack_archive(self.archive, self.archive.with_suffix(""))
        super().prepare_data()
