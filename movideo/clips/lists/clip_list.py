"""Lists of clips: a row a clip, beside facts of its file and its shot.

People filter and edit such lists, so every value that a clip needs is checked when one is read.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_args, get_type_hints

from movideo.clips.clip import Clip
from movideo.clips.lists.cells import Cells
from movideo.errors import VideoError
from movideo.storage.paths import first_outside
from movideo.storage.tables import (
    PARQUET,
    SUFFIXES,
    column_names,
    read_table,
    write_table,
)
from movideo.video.read import TOLERANCE

VERSION = 1
OUTSIDE = "not below the list's own folder: move the list, or pass allow_outside if you trust it"

_HASH = re.compile("[0-9a-f]{64}")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListRow:
    """A row of a list, whose columns are these, in this order; None is an empty cell.

    Attributes:
        video: the file; in a list on disk relative to the list's folder where it is below it.
        content_hash: of the file, see `movideo.clips.clip.content_hash`.
        start: of the clip, seconds since the video's first frame.
        fps: of the clip, frames per second.
        num_frames: of the clip, F.
        height: of the clip, pixels.
        width: of the clip, pixels.
        key_index: of the clip's key frame.
        duration: seconds from the video's first frame to its last.
        frames: of the video.
        video_fps: frames per second of the video, on average where the rate varies.
        variable_rate: whether it varies.
        video_height: pixels, as shown.
        video_width: pixels, as shown.
        rotation: degrees counter-clockwise by which stored frames are turned to be shown.
        interlaced: whether frames consist of two fields, taken one after the other.
        codec: name of the video codec, such as `h264`.
        cut_short: whether the file ends in mid-stream; all that is said here lies before that.
        shot_start: seconds since the video's first frame, of the first frame of the clip's shot.
        shot_end: the same, of the shot's last frame.
        motion: 0 to 1, see `movideo.clips.lists.shots.Survey.motion`.
        brightness: 0 to 1, see `movideo.clips.lists.shots.Survey.brightness`.
        reason: why not to use this row; empty where nothing speaks against it. Where a file gives
            no clip, the clip's columns are empty.
        version: of this format.
    """

    video: str
    content_hash: str | None = None
    start: float | None = None
    fps: float | None = None
    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    key_index: int | None = None
    duration: float | None = None
    frames: int | None = None
    video_fps: float | None = None
    variable_rate: bool | None = None
    video_height: int | None = None
    video_width: int | None = None
    rotation: int | None = None
    interlaced: bool | None = None
    codec: str | None = None
    cut_short: bool | None = None
    shot_start: float | None = None
    shot_end: float | None = None
    motion: float | None = None
    brightness: float | None = None
    reason: str | None = None
    version: int = VERSION


COLUMNS: dict[str, type] = {
    name: (get_args(hint) or (hint,))[0] for name, hint in get_type_hints(ListRow).items()
}
_OF_THE_CLIP = [field.name for field in fields(ListRow)][:8]
_CHECKED = [*_OF_THE_CLIP, "duration", "shot_start", "shot_end", "reason", "version"]


def write_clip_list(path: str | Path, rows: Iterable[ListRow]) -> None:
    """Writes a list as `.parquet`, `.csv` or `.jsonl`; the same rows give the same bytes.

    Raises:
        UserError: the suffix is another one, pyarrow is missing for Parquet, or the file cannot be
            written.
    """
    write_table(path, COLUMNS, map(asdict, rows))


def is_clip_list(path: Path) -> bool:
    """Whether a file is a list of clips: any Parquet file; others that have a column `start`."""
    suffix = path.suffix.lower()
    return suffix == PARQUET or (suffix in SUFFIXES and "start" in column_names(path))


def listed_videos(path: Path, allow_outside: bool = False) -> Iterator[Path]:
    """The videos of a list's usable rows, with repetitions.

    Raises:
        VideoError: see `read_clip_list`.
    """
    return (Path(clip.video) for clip in read_clip_list(path, allow_outside))


def read_clip_list(path: str | Path, allow_outside: bool = False) -> list[Clip]:
    """Reads the clips of a list, in its order, but for rows with a `reason`: these are counted.

    No video is opened.

    Args:
        path: the list.
        allow_outside: let it name videos that do not lie below its own folder.

    Raises:
        UserError: pyarrow is missing for Parquet.
        VideoError: the list cannot be read, a row is wrong (with its place and column), names a
            file that does not exist or is not allowed, or no row is left.
    """
    path = Path(path)
    _check_columns(path)
    clips: list[Clip] = []
    places: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for place, values in read_table(path, _CHECKED):
        cells = Cells(place, values)
        reason = cells.text("reason")
        if reason:
            left_out[short_reason(reason)] += 1
        else:
            clips.append(_clip(cells, os.path.dirname(path)))
            places.setdefault(clips[-1].video, place)
    if not allow_outside:
        _check_inside(path, places)
    _check_files(places)
    _report(path, len(clips), left_out)
    return clips


def short_reason(reason: str) -> str:
    """The kind of a reason, such as `too short` of `too short: 0.3 s of 25 fps give …`."""
    return re.split("[:;(]", reason)[0].strip()


def _check_columns(path: Path) -> None:
    present = column_names(path)
    missing = [name for name in _OF_THE_CLIP if name not in present]
    if missing:
        raise VideoError(
            f"{path}: no column {missing[0]}; a list of clips needs {', '.join(_OF_THE_CLIP)}"
        )


def _check_inside(path: Path, places: dict[str, str]) -> None:
    outside = first_outside(path.parent, places)
    if outside is not None:
        raise VideoError(f"{places[str(outside)]}: video {outside}; {OUTSIDE}")


def _check_files(places: dict[str, str]) -> None:
    for video, place in places.items():
        if not os.path.isfile(video):
            raise VideoError(f"{place}: video {video}; no such file, mend or remove the row")


def _report(path: Path, used: int, left_out: Counter[str]) -> None:
    total = used + left_out.total()
    kinds = "; ".join(f"{count} {kind}" for kind, count in left_out.most_common())
    if not used:
        why = f"all {total} are left out ({kinds})" if total else "it is empty"
        raise VideoError(f"{path}: no row to use, {why}; index again or change the list")
    if left_out:
        _logger.warning("%s: %d of %d rows are left out: %s", path, left_out.total(), total, kinds)


# ------------------------------------------------------------------------------------------ one row


def _clip(cells: Cells, folder: str) -> Clip:
    """The clip of a row, all of it checked."""
    num_frames = cells.whole("num_frames", least=1)
    clip = Clip(
        video=os.path.join(folder, cells.filled("video")),  # an absolute path stays as it is
        content_hash=cells.filled("content_hash"),
        start=cells.number("start"),
        fps=cells.number("fps"),
        num_frames=num_frames,
        size=(cells.whole("height", least=1), cells.whole("width", least=1)),
        key_index=cells.whole("key_index", least=0, most=num_frames - 1),
    )
    if not _HASH.fullmatch(clip.content_hash):
        raise cells.wrong("content_hash", "64 hexadecimal digits; index the video again")
    if clip.fps <= 0:
        raise cells.wrong("fps", "give a number above 0")
    if cells.has("version") and cells.whole("version", least=0) != VERSION:
        raise cells.wrong("version", f"this movideo reads version {VERSION}; index again")
    _check_span(cells, clip)
    return clip


def _check_span(cells: Cells, clip: Clip) -> None:
    """The clip lies in its video and its shot, where the row tells these."""
    last = clip.start + (clip.num_frames - 1) / clip.fps
    if clip.start < 0:
        raise cells.wrong("start", "give 0 or more")
    if cells.has("shot_start") and clip.start < cells.number("shot_start") - TOLERANCE:
        begins = f"before the shot begins (shot_start {cells.values['shot_start']})"
        raise cells.wrong("start", f"{begins}; raise it")
    for column, what in (("duration", "the video"), ("shot_end", "the shot")):
        if cells.has(column) and last > cells.number(column) + TOLERANCE:
            end = f"its last frame at {last:.3f} s comes after {what} ends"
            raise cells.wrong("start", f"{end} ({column} {cells.values[column]}); lower it")
