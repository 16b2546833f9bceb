"""From a disk of videos to a list of clips: in parallel, and resumed after a kill."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from movideo.clips.lists.clip_list import VERSION, ListRow, short_reason, write_clip_list
from movideo.clips.lists.journal import Journal, Stamp, stamp
from movideo.clips.lists.parallel import each
from movideo.clips.lists.rows import IndexSettings, describe_video
from movideo.clips.lists.shots import import_scenedetect
from movideo.clips.sources import walk_videos
from movideo.errors import UserError
from movideo.storage.atomic import hidden_beside
from movideo.storage.digest import content_hash, hex_digest
from movideo.storage.paths import is_inside
from movideo.storage.tables import check_table

_NO_CLIP: dict[str, Any] = dict.fromkeys(
    (
        *("start", "fps", "num_frames", "height", "width", "key_index"),
        *("shot_start", "shot_end", "motion", "brightness"),
    )
)


@dataclass
class IndexCounts:
    """What a list holds.

    Attributes:
        videos: files looked at.
        clips: rows to use.
        left_out: number of other rows by the kind of their reason.
        outside: rows to use whose video is not below the list's folder.
        interlaced: rows to use of interlaced videos.
    """

    videos: int = 0
    clips: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    interlaced: int = 0


def build_index(
    videos: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: IndexSettings,
    workers: int | None = None,
    allow_outside: bool = False,
) -> IndexCounts | None:
    """Writes a list of the clips of all videos named, with a progress bar.

    The list is a function of files and settings alone, to the byte. What is finished when the run
    is killed stands in a hidden journal beside it; the same call goes on from there, and after the
    end, as when a job is queued again, does nothing.

    Args:
        videos: as for `movideo.video.find_videos`.
        out: the list, in the format its suffix names; must not exist, unless this very call has
            made it.
        settings: what clips are drawn and which of them are flagged.
        workers: processes; by default as many as there are cores for this one.
        allow_outside: as for `movideo.video.find_videos`.

    Returns:
        What the list holds; None where it was there already.

    Raises:
        UserError: a package is missing, or the list exists or cannot be written.
        VideoError: nothing is named, or not one video is found.
    """
    out = Path(out)
    check_table(out)
    import_scenedetect()
    journal = Journal(hidden_beside(out, ".journal"), {"version": VERSION, **asdict(settings)})
    if out.exists():
        if journal.has_finished(_record(videos, out)):
            return None
        raise UserError(f"{out}: exists already; name another list or move this one away")
    with journal:
        walk = walk_videos(videos, allow_outside)
        order = _describe_all(walk, settings, workers or _cores(), journal)
        counts = IndexCounts(videos=len(order))
        write_clip_list(out, _counted(_rows(order, journal, out), counts, out))
        journal.finish(_record(videos, out))
    return counts


def _record(videos: str | Path | Sequence[str | Path], out: Path) -> str:
    """What tells a finished list: the videos named, and the list's content."""
    named = [videos] if isinstance(videos, str | Path) else videos
    paths = "\n".join(os.path.abspath(name) for name in named)
    return f"{hex_digest(os.fsencode(paths))} {content_hash(out)}"


def _cores() -> int:
    """Those that this process may use: under SLURM fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _describe_all(
    videos: Iterator[Path],
    settings: IndexSettings,
    workers: int,
    journal: Journal,
) -> list[str]:
    """Sees to it that the journal knows every video; gives their absolute paths in order."""
    order: dict[str, Stamp] = {}
    describe = partial(describe_video, settings=settings)
    with tqdm(desc="indexing videos", unit="video", delay=2) as bar:
        unknown = _unknown(videos, order, journal, bar)
        with closing(each(describe, unknown, workers, _crashed)) as results:
            for path, rows in results:
                journal.add(path, order[path], [asdict(row) for row in rows])
                bar.update()
    return list(order)


def _unknown(
    videos: Iterator[Path],
    order: dict[str, Stamp],
    journal: Journal,
    bar: tqdm[Any],
) -> Iterator[str]:
    """The videos that the journal does not know; all that the walk comes to go into `order`."""
    for name in videos:
        path = os.path.abspath(name)
        if path in order:
            continue
        order[path] = stamp(path)
        if journal.knows(path, order[path]):
            bar.update()
        else:
            yield path


def _crashed(path: str) -> list[ListRow]:
    return [ListRow(path, reason="ends the process that reads it; remove it")]


def _rows(order: Sequence[str], journal: Journal, out: Path) -> Iterator[ListRow]:
    """The rows of all videos; of files with the same content only the first gives clips."""
    folder = os.path.abspath(out.parent)
    first: dict[str, str] = {}
    for path in order:
        rows = [ListRow(**values) for values in journal.result(path)]
        rows = [replace(row, video=_below(row.video, folder)) for row in rows]
        content = rows[0].content_hash
        if rows[0].start is None or content is None:
            yield from rows
        elif content in first:
            reason = f"duplicate: same content as {first[content]}"
            yield replace(rows[0], **_NO_CLIP, reason=reason)
        else:
            first[content] = rows[0].video
            yield from rows


def _below(path: str, folder: str) -> str:
    """Relative to the folder where it is below it."""
    prefix = os.path.join(folder, "")
    return path.removeprefix(prefix).replace(os.sep, "/") if path.startswith(prefix) else path


def _counted(rows: Iterator[ListRow], counts: IndexCounts, out: Path) -> Iterator[ListRow]:
    lies_inside = lru_cache(lambda video: is_inside(out.parent, out.parent / video))
    for row in rows:  # those of one video follow one another
        if row.reason is None:
            counts.clips += 1
            counts.outside += not lies_inside(row.video)
            counts.interlaced += row.interlaced or False
        else:
            counts.left_out[short_reason(row.reason)] += 1
        yield row
