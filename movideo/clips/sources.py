"""From what the user names to a list of video files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from movideo.clips.lists.clip_list import OUTSIDE, is_clip_list, listed_videos
from movideo.errors import VideoError
from movideo.storage.paths import is_inside
from movideo.storage.tables import read_csv, read_jsonl, read_lines
from movideo.storage.walk import walk_files

SUFFIXES = frozenset(
    (
        ".3gp",
        ".asf",
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
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    )
)
"""What counts as a video inside a folder, in any case of letters."""

_OTHER_LISTS = (".json", ".tsv", ".xlsx", ".xls", ".yaml", ".yml", ".xml", ".feather", ".npy")


def find_videos(
    videos: str | Path | Sequence[str | Path], allow_outside: bool = False
) -> list[Path]:
    """Lists the video files that `videos` names, each once, in a stable order.

    Args:
        videos: a folder (searched as `walk_files` does), a video file, a list file, or a
            sequence of these. A list is `.txt` (a path a line, `#` starts a comment line), `.csv`
            (the column `video`, else the first one) or `.jsonl` (the key `video`); relative paths
            in it start at the list's own folder. Of a list of clips (see
            `movideo.clips.lists.clip_list`), the videos of its usable rows.
        allow_outside: let lists name videos that do not lie below their own folder.

    Raises:
        VideoError: something named does not exist, a folder or list holds no video, or a list
            cannot be understood or names what is not allowed.
    """
    return list(dict.fromkeys(walk_videos(videos, allow_outside)))


def walk_videos(
    videos: str | Path | Sequence[str | Path], allow_outside: bool = False
) -> Iterator[Path]:
    """`find_videos` while the folders are being searched: the same order, maybe with repetitions.

    Raises:
        VideoError: as `find_videos`, when the walk comes to it.
    """
    named = [videos] if isinstance(videos, str | Path) else list(videos)
    if not named:
        raise VideoError("no videos named; give a folder, a video or a list file")
    for name in named:
        yield from _one(Path(name), allow_outside)


def _one(path: Path, allow_outside: bool) -> Iterator[Path]:
    if path.is_dir():
        yield from _folder(path)
    elif not path.exists():
        raise VideoError(f"{path}: no such file or folder; check the path")
    elif is_clip_list(path):
        yield from listed_videos(path, allow_outside)
    elif path.suffix.lower() in _READERS:
        yield from _list(path, allow_outside)
    elif path.suffix.lower() in _OTHER_LISTS:
        raise VideoError(f"{path}: lists are read as .txt, .csv or .jsonl; save it as one of these")
    else:
        yield path


def _folder(folder: Path) -> Iterator[Path]:
    found = False
    for path in walk_files(folder, SUFFIXES):
        found = True
        yield path
    if not found:
        raise VideoError(
            f"{folder}: no video in this folder; "
            f"put files ending in {' '.join(sorted(SUFFIXES))} there"
        )


def _list(path: Path, allow_outside: bool) -> Iterator[Path]:
    found = False
    for line, entry in _READERS[path.suffix.lower()](path):
        found = True
        yield _row(path, line, entry, allow_outside)
    if not found:
        raise VideoError(f"{path}: the list names no video; put one a row")


def _row(source: Path, line: int, entry: object, allow_outside: bool) -> Path:
    """The video that line `line` of a list names."""
    if not isinstance(entry, str) or not entry.strip():
        raise VideoError(f"{source}:{line}: names no video; give a path there or remove the line")
    path = source.parent / entry.strip()  # an absolute entry replaces the folder
    if not allow_outside and not is_inside(source.parent, path):
        raise VideoError(f"{source}:{line}: {entry.strip()}; {OUTSIDE}")
    if not path.is_file():
        raise VideoError(f"{source}:{line}: no such file {entry.strip()}; mend or remove the line")
    return path


def _csv(path: Path) -> Iterator[tuple[int, object]]:
    rows = read_csv(path)
    line, header = next(rows, (0, []))
    is_named = "video" in header
    column = header.index("video") if is_named else 0
    if header and not is_named and Path(header[0]).suffix:  # the first row is a video already
        yield line, header[0]
        is_named = True
    for line, row in rows:
        if not is_named and len(row) > 1 and Path(row[0]).suffix.lower() not in SUFFIXES:
            raise _no_column(path, header)
        is_named = True
        yield line, row[column] if column < len(row) else None


def _jsonl(path: Path) -> Iterator[tuple[int, object]]:
    for line, row in read_jsonl(path):
        if row and "video" not in row:
            raise _no_column(f"{path}:{line}", row)
        yield line, row.get("video")


def _no_column(place: str | Path, columns: Iterable[str]) -> VideoError:
    return VideoError(
        f"{place}: no column video; rename the one that names the files: {', '.join(columns)}"
    )


_READERS: dict[str, Callable[[Path], Iterator[tuple[int, object]]]] = {
    ".txt": read_lines,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
