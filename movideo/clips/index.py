"""The clips that sources name: those of lists, and those drawn from videos on the spot.

Videos that are broken are passed over, counted and listed.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from movideo.clips.clip import Clip, ClipSettings, draw_clips
from movideo.clips.lists.clip_list import is_clip_list, read_clip_list
from movideo.clips.sources import find_videos
from movideo.errors import VideoError
from movideo.storage.digest import content_hash
from movideo.video.read import VideoInfo, probe

_logger = logging.getLogger(__name__)


@dataclass
class ClipIndex:
    """Clips to use, and for each video passed over, why.

    Attributes:
        clips: those of lists, in their order, then those of the videos in theirs.
        skipped: reason by path.
        interlaced: videos whose frames consist of two fields.
    """

    clips: list[Clip]
    skipped: dict[str, str]
    interlaced: int = 0


def index_clips(
    videos: str | Path | Sequence[str | Path],
    settings: ClipSettings,
    allow_outside: bool = False,
) -> ClipIndex:
    """Reads the clips of lists of clips, and draws clips of every other video named.

    A list (see `movideo.clips.lists.clip_list`) says which clips to take; what else is named
    (see `find_videos`) is opened, with a progress bar. A video that cannot be used, or whose
    content came before, is skipped; a warning at the end lists them all.

    Args:
        videos: as for `find_videos`.
        settings: how clips are drawn.
        allow_outside: let lists name videos that do not lie below their own folder.

    Raises:
        UserError: a list is in Parquet and pyarrow is missing.
        VideoError: what is named does not exist, a list is wrong or of other clips than the
            settings ask for, or not one clip is left (with the first reason).
    """
    named = [Path(name) for name in ([videos] if isinstance(videos, str | Path) else videos)]
    lists = [path for path in named if path.is_file() and is_clip_list(path)]
    listed = [clip for path in lists for clip in _listed(path, settings, allow_outside)]
    index = ClipIndex(listed, {})
    others = [path for path in named if path not in lists]
    if others or not lists:
        _draw_all(find_videos(others, allow_outside), settings, index)
    return index


def _listed(path: Path, settings: ClipSettings, allow_outside: bool) -> list[Clip]:
    clips = read_clip_list(path, allow_outside)
    wanted = settings.num_frames, tuple(settings.size), settings.key_frame
    for clip in clips:
        given = clip.num_frames, clip.size, clip.key_index
        if given != wanted:
            names = zip(("num_frames", "size", "key_index"), given, wanted, strict=True)
            name, there, here = next(each for each in names if each[1] != each[2])
            raise VideoError(
                f"{path}: {name} of its clips is {there}, not {here}; "
                f"set data.{name} to that or index again"
            )
    return clips


def _draw_all(paths: Sequence[Path], settings: ClipSettings, index: ClipIndex) -> None:
    """Adds clips of videos whose content is not in the index yet."""
    seen = {clip.content_hash: Path(clip.video) for clip in index.clips}
    for path in tqdm(paths, desc="reading videos", unit="video", delay=2):
        try:
            info, clips = _clips(path, seen, settings)
            index.clips += clips
            index.interlaced += info.interlaced
        except VideoError as error:
            index.skipped[str(path)] = str(error).removeprefix(f"{path}: ")
    if not index.clips:
        name, reason = next(iter(index.skipped.items()))
        others = f" (and {len(paths) - 1} more, none usable)" if len(paths) > 1 else ""
        raise VideoError(f"{name}: {reason}{others}")
    _report(index, len(paths))


def _clips(
    path: Path, seen: dict[str, Path], settings: ClipSettings
) -> tuple[VideoInfo, list[Clip]]:
    identity = content_hash(path)
    if identity in seen:
        raise VideoError(f"{path}: same content as {seen[identity]}")
    info = probe(path)
    clips = draw_clips(info, identity, settings)
    seen[identity] = path
    return info, clips


def _report(index: ClipIndex, total: int) -> None:
    if index.skipped:
        lines = "".join(f"\n  {path}: {reason}" for path, reason in index.skipped.items())
        _logger.warning("skipped %d of %d videos:%s", len(index.skipped), total, lines)
    if index.interlaced:
        _logger.warning(
            "%d of %d videos are interlaced: what moves is combed; deinterlace them first, "
            "with ffmpeg -vf bwdif",
            index.interlaced, total,
        )  # fmt: skip
