"""The rows of one video in a list of clips: its clips, what it is, and what speaks against it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from movideo.clips.clip import Clip, ClipSettings, draw_clips
from movideo.clips.lists.clip_list import ListRow
from movideo.clips.lists.shots import Survey, survey
from movideo.errors import VideoError
from movideo.storage.digest import content_hash
from movideo.video.read import VideoInfo, probe


@dataclass(frozen=True)
class IndexSettings:
    """What a list of clips depends on besides the files.

    Attributes:
        clips: how clips are drawn.
        min_motion: a clip that moves less (see `Survey.motion`, 0 to 1) is `static`.
        min_brightness: a clip with a darker frame (see `Survey.brightness`, 0 to 1) is `black`.
    """

    clips: ClipSettings = field(default_factory=ClipSettings)
    min_motion: float = 0.003
    min_brightness: float = 0.02


def describe_video(path: str, settings: IndexSettings) -> list[ListRow]:
    """One row a clip; for a file that gives none, one row with the reason.

    An error that nobody foresaw is such a reason too: one odd file must not end a run of days.
    """
    row = ListRow(video=path)
    try:
        path.encode()
        row = replace(row, content_hash=content_hash(path))
        info, seen = _look_at(path)
        row = _with_file(row, info)
        clips = draw_clips(info, row.content_hash or "", settings.clips, seen.shots)
        return [_with_clip(row, clip, seen, settings) for clip in clips]
    except VideoError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return [replace(row, reason=f"cut short: {reason}" if row.cut_short else reason)]
    except UnicodeEncodeError:
        name = os.fsencode(path).decode(errors="backslashreplace")
        return [ListRow(video=name, reason="its name is not UTF-8; rename it")]
    except Exception as error:
        return [replace(row, reason=f"unexpected error: {type(error).__name__} {error}")]


def _look_at(path: str) -> tuple[VideoInfo, Survey]:
    """What a video shows, up to damage that only decoding all of it comes upon."""
    info = probe(path)
    seen = survey(info)
    if seen.times[-1] < info.duration:
        decoded = tuple(time for time in info.times if time <= seen.times[-1])
        info = replace(info, times=decoded, cut=True)
    return info, seen


def _with_file(row: ListRow, info: VideoInfo) -> ListRow:
    return replace(
        row,
        duration=round(info.duration, 6),
        frames=len(info.times),
        video_fps=round(info.fps, 6),
        variable_rate=info.variable_rate,
        video_height=info.height,
        video_width=info.width,
        rotation=info.rotation,
        interlaced=info.interlaced,
        codec=info.codec,
        cut_short=info.cut,
    )


def _with_clip(row: ListRow, clip: Clip, seen: Survey, settings: IndexSettings) -> ListRow:
    shot_start, shot_end = seen.shot(clip)
    motion, brightness = round(seen.motion(clip), 4), round(seen.brightness(clip), 4)
    black, static = brightness < settings.min_brightness, motion < settings.min_motion
    return replace(
        row,
        start=clip.start,
        fps=clip.fps,
        num_frames=clip.num_frames,
        height=clip.size[0],
        width=clip.size[1],
        key_index=clip.key_index,
        shot_start=round(shot_start, 6),
        shot_end=round(shot_end, 6),
        motion=motion,
        brightness=brightness,
        reason="black" if black else "static" if static else None,
    )
