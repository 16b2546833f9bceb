"""Clips of several lengths and aspects: which shape a clip gets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from movideo.clips.clip import Clip, ClipSettings
from movideo.errors import UserError, VideoError
from movideo.progress import Progress
from movideo.storage.digest import digest
from movideo.video.read import read_pixels

Shape = tuple[int, int, int]
"""`(num_frames, height, width)`."""


def check_buckets(buckets: Iterable[Shape], settings: ClipSettings) -> None:
    """Refuses shapes that the clips of these settings cannot be brought to.

    Raises:
        UserError: a bucket is longer than the default, empty, or without the key frame.
    """
    for shape in buckets:
        num_frames, height, width = shape
        shorter = replace(settings, num_frames=num_frames, size=(height, width))
        fits = all(is_right for is_right, _ in shorter.ranges().values())
        if num_frames > settings.num_frames or not fits:
            raise UserError(
                f"data.training.buckets: {list(shape)}; give [num_frames, height, width], at most "
                f"the {settings.num_frames} frames of data.num_frames and the key frame among them"
            )


def shape_clips(
    clips: Sequence[Clip], settings: ClipSettings, buckets: Iterable[Shape]
) -> list[Clip]:
    """Gives every clip the shape whose aspect is nearest to its video's.

    Shapes are those of the buckets and the default of the settings. Where several are equally near,
    a hash of the clip chooses, so that each gets its share. Clips keep their start and rate: a
    bucket has at most the default's frames. A video that cannot be read is left to those who will
    read all of its clip.
    """
    shapes = [(settings.num_frames, *settings.size), *buckets]
    aspect = cache(_aspect)  # of a video with many clips: once
    bar = Progress(clips, desc="reading aspects", unit="clip")
    return [_shaped(clip, _choose(shapes, aspect(clip.video), clip.key), settings) for clip in bar]


def _aspect(video: str) -> float | None:
    """Width over height, as shown."""
    try:
        height, width = read_pixels(video, [0.0]).shape[-2:]
    except VideoError:
        return None
    return width / height


def _choose(shapes: Sequence[Shape], aspect: float | None, key: str) -> Shape:
    if aspect is None:
        return shapes[0]

    def distance(shape: Shape) -> float:
        return round(abs(math.log(shape[2] / shape[1] / aspect)), 6)

    nearest = min(map(distance, shapes))
    equal = [shape for shape in shapes if distance(shape) == nearest]
    return equal[int.from_bytes(digest(f"bucket/{key}")[:8], "little") % len(equal)]


def _shaped(clip: Clip, shape: Shape, settings: ClipSettings) -> Clip:
    num_frames, height, width = shape
    key_index = replace(settings, num_frames=num_frames).key_frame
    return replace(clip, num_frames=num_frames, size=(height, width), key_index=key_index)
