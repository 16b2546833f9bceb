"""From what the user names to a list of video files."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from movideo.video.read import VideoError

SUFFIXES = frozenset(
    (
        ".3gp",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".webm",
        ".wmv",
    )
)
"""What counts as a video inside a folder, in any case of letters."""


def find_videos(videos: str | Path | Sequence[str | Path]) -> list[Path]:
    """Lists the video files that `videos` names, each once, in a stable order.

    Args:
        videos: a folder (searched with its subfolders, sorted), a video file, a list file, or a
            sequence of these. A list is `.txt` (a path a line, `#` starts a comment line), `.csv`
            (the column `video`, else the first one) or `.jsonl` (the key `video`); relative paths
            in it start at the list's own folder.

    Raises:
        VideoError: something named does not exist, a folder or list holds no video, or a list
            cannot be understood.
    """
    named = [videos] if isinstance(videos, str | Path) else list(videos)
    found = list(dict.fromkeys(path for name in named for path in _one(Path(name))))
    if not found:
        raise VideoError("no videos named; give a folder, a video or a list file")
    return found


def _one(path: Path) -> list[Path]:
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise VideoError(f"{path}: no such file or folder; check the path")
    readers = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl}
    suffix = path.suffix.lower()
    if suffix not in readers:
        return [path]
    found = [_row(path, line, entry) for line, entry in readers[suffix](path)]
    if not found:
        raise VideoError(f"{path}: the list names no video; put one a row")
    return found


def _folder(folder: Path) -> list[Path]:
    found = sorted(
        path for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )  # fmt: skip
    if not found:
        raise VideoError(
            f"{folder}: no video in this folder; "
            f"put files ending in {' '.join(sorted(SUFFIXES))} there"
        )
    return found


def _row(source: Path, line: int, entry: object) -> Path:
    """The video that line `line` of a list names."""
    if not isinstance(entry, str) or not entry.strip():
        raise VideoError(f"{source}:{line}: names no video; give a path there or remove the line")
    path = source.parent / entry.strip()  # an absolute entry replaces the folder
    if not path.is_file():
        raise VideoError(f"{source}:{line}: no such file {entry.strip()}; mend or remove the line")
    return path


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VideoError(f"{path}: the list cannot be read as text; save it as UTF-8") from error


def _txt(path: Path) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip() and not line.strip().startswith("#"):
            yield number, line


def _csv(path: Path) -> Iterator[tuple[int, object]]:
    reader = csv.reader(_lines(path))
    header = next(reader, [])
    named = "video" in header
    column = header.index("video") if named else 0
    if (
        header and not named and Path(header[0]).suffix
    ):  # no header: the first row is a video already
        yield 1, header[0]
    for row in reader:
        if row:
            yield reader.line_num, row[column] if column < len(row) else None


def _jsonl(path: Path) -> Iterator[tuple[int, object]]:
    for number, line in _txt(path):
        try:
            row = json.loads(str(line))
        except ValueError as error:
            raise VideoError(
                f'{path}:{number}: not JSON; one object a line, such as {{"video": "a.mp4"}}'
            ) from error
        yield number, row.get("video") if isinstance(row, dict) else None
