"""The clips of many videos; broken videos are passed over, counted and listed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from movideo.video.clips import Clip, ClipSettings, content_hash, draw_clips
from movideo.video.read import VideoError, probe
from movideo.video.sources import find_videos

_logger = logging.getLogger(__name__)


@dataclass
class ClipIndex:
    """Clips to use, and for each video passed over, why.

    Attributes:
        clips: in the order of the videos.
        skipped: reason by path.
    """

    clips: list[Clip]
    skipped: dict[str, str]


def index_clips(videos: str | Path | Sequence[str | Path], settings: ClipSettings) -> ClipIndex:
    """Draws the clips of every video named (see `find_videos`), with a progress bar.

    A video that cannot be used, or whose content came before, is skipped; a warning at the end
    lists them all.

    Raises:
        VideoError: what is named does not exist, or not one clip is left (with the first reason).
    """
    paths = find_videos(videos)
    index = ClipIndex([], {})
    seen: dict[str, Path] = {}
    for path in tqdm(paths, desc="reading videos", unit="video", delay=2):
        try:
            index.clips += _clips(path, seen, settings)
        except VideoError as error:
            index.skipped[str(path)] = str(error).removeprefix(f"{path}: ")
    if not index.clips:
        name, reason = next(iter(index.skipped.items()))
        others = f" (and {len(paths) - 1} more, none usable)" if len(paths) > 1 else ""
        raise VideoError(f"{name}: {reason}{others}")
    _report(index, len(paths))
    return index


def _clips(path: Path, seen: dict[str, Path], settings: ClipSettings) -> list[Clip]:
    identity = content_hash(path)
    if identity in seen:
        raise VideoError(f"{path}: same content as {seen[identity]}")
    clips = draw_clips(probe(path), identity, settings)
    seen[identity] = path
    return clips


def _report(index: ClipIndex, total: int) -> None:
    if index.skipped:
        lines = "".join(f"\n  {path}: {reason}" for path, reason in index.skipped.items())
        _logger.warning("skipped %d of %d videos:%s", len(index.skipped), total, lines)
