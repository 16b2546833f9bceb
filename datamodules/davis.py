"""DAVIS 2017: videos as folders of frames, without words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from datamodules.evaluation import Description, EvaluationDataModule, Sample, TrueClip
from datamodules.listings import read_lines
from movideo.errors import UserError
from movideo.video.frame_folders import probe_frames
from movideo.video.read import VideoInfo

FPS = 24.0
"""Frames per second of all its videos; the folders do not say."""


class DAVIS(EvaluationDataModule):
    """Its sequences, 25 to 104 frames each: by default consecutive ones, since 3 fps asks for 129.

    Args:
        folder: holds `JPEGImages/480p/<sequence>/00000.jpg` and `ImageSets/2017/<split>.txt`, as
            its owners pack it.
        split: `val` (30 sequences) or `train` (60).
        fps: None takes consecutive frames, and 24 fps is told to the model.
        **options: as for `EvaluationDataModule`.
    """

    data_set = "DAVIS 2017"
    layout = "JPEGImages/480p/<sequence>/00000.jpg and ImageSets/2017/<val or train>.txt"

    def __init__(
        self,
        folder: str = "DAVIS",
        split: Literal["val", "train"] = "val",
        fps: float | None = None,
        **options: Any,
    ) -> None:
        self.folder = Path(folder)
        self.split = split
        super().__init__(fps=fps, **options)

    @override
    def videos(self) -> dict[str, Path]:
        listing = self.folder / "ImageSets" / "2017" / f"{self.split}.txt"
        names = read_lines(listing, self.layout)
        for name in names:
            if not re.fullmatch(r"[\w-]+", name):
                raise UserError(f"{listing}: {name} is no name of a sequence; unpack it again")
        return {name: self.folder / "JPEGImages" / "480p" / name for name in names}

    @override
    def probe(self, path: Path) -> VideoInfo:
        return probe_frames(path, FPS)

    def list_samples(self, clips: dict[str, TrueClip]) -> list[Sample]:
        """One a sequence."""
        return [Sample(name, clip=clip) for name, clip in clips.items()]

    @override
    def described(self) -> Description:
        return {"split": self.split, "prompts": "none"}
