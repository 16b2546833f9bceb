"""`movideo index`: a list of the clips of a disk of videos."""

from __future__ import annotations

from movideo.clips.clip import ClipSettings
from movideo.clips.lists.build import IndexCounts, build_index
from movideo.clips.lists.rows import IndexSettings
from movideo.errors import UserError, check_ranges


def index(
    videos: str | list[str],
    out: str,
    num_frames: int = ClipSettings.num_frames,
    size: tuple[int, int] = ClipSettings.size,
    fps_range: tuple[float, float] = ClipSettings.fps_range,
    clips_per_video: int = ClipSettings.clips_per_video,
    key_index: int | None = ClipSettings.key_index,
    seed: int = ClipSettings.seed,
    min_motion: float = IndexSettings.min_motion,
    min_brightness: float = IndexSettings.min_brightness,
    workers: int | None = None,
    allow_outside: bool = False,
) -> None:
    """Lists clips of videos that cross no cut, with what is known of each; resumed after a kill.

    Args:
        videos: a folder, a video, a list of videos, or several of these.
        out: the list: .parquet, or .csv or .jsonl to edit by hand.
        num_frames: frames a clip.
        size: height and width of a clip in pixels.
        fps_range: lowest and highest frame rate of a clip.
        clips_per_video: clips drawn from each video.
        key_index: the key frame, the centre by default.
        seed: of the clips drawn.
        min_motion: a clip whose frames all differ less from its key frame (mean absolute
            difference in luma, 0 to 1) is flagged as static.
        min_brightness: a clip with a frame of less mean luma (0 to 1) is flagged as black.
        workers: processes; all cores by default.
        allow_outside: let lists among `videos` name files that are not below their own folder.
    """
    clips = ClipSettings(num_frames, size, fps_range, clips_per_video, key_index, seed)
    check_ranges("--{}", vars(clips), clips.ranges())
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: give 1 or more")
    settings = IndexSettings(clips, min_motion, min_brightness)
    print(_summary(out, build_index(videos, out, settings, workers, allow_outside)))


def _summary(out: str, counts: IndexCounts | None) -> str:
    if counts is None:
        return f"{out} is finished already: nothing to do"
    kinds = "; ".join(f"{count} {kind}" for kind, count in counts.left_out.most_common())
    left_out = f"; left out: {kinds}" if kinds else ""
    combed = f"; {counts.interlaced} interlaced, see docs/data.md" * bool(counts.interlaced)
    hint = "; with --data.allow_outside true: its videos are elsewhere" * bool(counts.outside)
    return f"{counts.clips} clips of {counts.videos} videos in {out}{left_out}{combed}{hint}"
