"""MSR-VTT: the captions of its test videos."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from datamodules.evaluation import Description, EvaluationDataModule, Sample, TrueClip
from datamodules.listings import read_listing
from movideo.errors import UserError

LISTS = ("test_videodatainfo.json", "MSRVTT_data.json")
FOLDERS = ("TestVideo", "videos/all")


class MSRVTT(EvaluationDataModule):
    """All captions of the test split, 20 a video, each with its video's clip.

    Args:
        folder: holds `test_videodatainfo.json` or `MSRVTT_data.json`, the first of which is taken
            where both are there, and the videos in `TestVideo` or `videos/all`.
        **options: as for `EvaluationDataModule`.
    """

    data_set = "MSR-VTT"
    layout = "test_videodatainfo.json or MSRVTT_data.json, and TestVideo/ or videos/all/"

    def __init__(
        self,
        folder: str = "MSRVTT",
        **options: Any,
    ) -> None:
        self.folder = Path(folder)
        super().__init__(**options)

    @cached_property
    def _captions(self) -> dict[str, list[tuple[int, str]]]:
        """Numbers and captions by test video: by number, whatever the order of the file."""
        path = next((p for p in self._places(LISTS) if p.is_file()), self.folder / LISTS[0])
        try:
            listed = json.loads(read_listing(path, self.layout))
            captions: dict[str, list[tuple[int, str]]] = {
                _video(row): [] for row in listed["videos"] if row.get("split", "test") == "test"
            }
            for row in listed["sentences"]:
                if (video := _video(row)) in captions:
                    captions[video].append((int(row["sen_id"]), row["caption"].strip()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: no list of MSR-VTT; unpack it again") from error
        in_order = sorted(captions, key=lambda video: int(video.removeprefix("video")))
        return {video: sorted(captions[video]) for video in in_order}

    def _places(self, names: tuple[str, ...]) -> list[Path]:
        return [self.folder / name for name in names]

    @override
    def videos(self) -> dict[str, Path]:
        captions = self._captions
        folders = self._places(FOLDERS)
        folder = next((place for place in folders if place.is_dir()), folders[0])
        return {video: folder / f"{video}.mp4" for video in captions}

    def list_samples(self, clips: dict[str, TrueClip]) -> list[Sample]:
        """One a caption."""
        return [
            Sample(f"{video}/{number}", caption, clip)
            for video, clip in clips.items()
            for number, caption in self._captions[video]
        ]

    @override
    def described(self) -> Description:
        return {"split": "test", "prompts": "captions as they are"}


def _video(row: dict[str, Any]) -> str:
    """The video that a row is about; ValueError where it is not called as they all are."""
    name: str = row["video_id"]
    if not re.fullmatch(r"video\d+", name):
        raise ValueError(name)
    return name
