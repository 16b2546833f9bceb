"""The frames around wanted times: the ones that decoding the whole file gives, for less work."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import chain

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from movideo.video.decoding.container import (
    TOLERANCE,
    DamagedError,
    VideoFile,
    first_frame,
    open_video,
)
from movideo.video.decoding.timeline import count_frames, counted_frames

_BACK_OFF = (0.0, 1.0, 10.0)
"""Seconds to seek further back: a key frame decoded before the time may be shown after it."""

_UNSEARCHABLE = ("mpeg",)
"""Formats with wrong times after a seek: MPEG program streams stamp packs, not frames."""

_LAST_STAMP = 2**63 - 1

TimedFrames = Iterator[tuple[float, VideoFrame]]
"""Frames in the order shown, each with its seconds since the file's first frame."""


class OutOfOrderError(Exception):
    """Frames do not come in the order of their time stamps, or have none."""


def frames_around(
    video: VideoFile, times: Sequence[float], is_counted: bool | None = None
) -> TimedFrames:
    """Frames of a file just opened, from one at or before the first of `times` to the end.

    Frames that are on display at none of the times may be left out.

    Args:
        video: the file.
        times: seconds since the first frame, ascending.
        is_counted: whether frames are told by their place and not by their stamps, from the file's
            first on (see `timeline`); None finds out.

    Raises:
        DamagedError: the file is damaged; raised after the frames shown before the damage.
        OutOfOrderError: frames have to be counted, as comes out only now.
        VideoError: the file has no frame, or the deadline has passed.
    """
    timeline = counted_frames(video) if is_counted is None else None
    if is_counted or timeline is not None:
        timeline = timeline or count_frames(video)
        yield from zip(timeline.times, video.frames(), strict=False)
        return
    passed = _Passed(video, times)
    frames = video.frames(passed)
    first = first_frame(video, frames)
    passed.start = start = _stamp_of(first)
    if not _may_skip_ahead(video, start, times[0]):
        yield from _timed(video, chain([first], frames), start)
        return
    frames.close()
    found = _search(video, passed, start, times[0])
    if found is not None:
        yield from found
        return
    with open_video(video.path, video.deadline) as again:
        yield from _timed(again, again.frames(passed), start)


class _Passed:
    """Tells a packet whose frame will have left the screen by the next time wanted.

    That is sure once the packet of a frame shown between the two has been read. B-frames come
    after such a packet, and most are no other frame's reference: they need not be decoded.
    """

    def __init__(self, video: VideoFile, times: Sequence[float]) -> None:
        self.start: int | None = None  # time stamp of second 0, once it is known
        self._video = video
        self._wanted = [time + TOLERANCE for time in times]
        self._read: list[float] = []  # ascending
        self._last = False

    def __call__(self, packet: Packet[VideoStream]) -> bool:
        if self.start is None or packet.pts is None:  # no time: the second field of a frame
            return self._last
        time = self._video.seconds(packet.pts - self.start)
        index = bisect_left(self._wanted, time)
        next_wanted = self._wanted[index] if index < len(self._wanted) else time
        self._last = bisect_right(self._read, time) < bisect_right(self._read, next_wanted)
        if not packet.is_discard:
            insort(self._read, time)
        return self._last


def _may_skip_ahead(video: VideoFile, start: int, time: float) -> bool:
    """Whether a key frame may lie between the first frame and `time`."""
    if time <= TOLERANCE or video.container.format.name in _UNSEARCHABLE:
        return False
    index = video.stream.index_entries
    is_complete = 0 < video.stream.frames <= len(index)
    return not is_complete or index.search_timestamp(_stamp_at(video, start, time)) > 0


def _search(video: VideoFile, passed: _Passed, start: int, time: float) -> TimedFrames | None:
    """Frames from a key frame at or before `time`; None where the file cannot be searched."""
    for earlier in (time - back for back in _BACK_OFF if time > back):
        try:
            video.container.seek(_stamp_at(video, start, earlier), stream=video.stream)
            frames = _timed(video, video.frames(passed), start)
            first = next(frames, None)
        except (av.FFmpegError, DamagedError):
            return None
        if first is not None and first[0] <= time + TOLERANCE:
            return chain([first], frames)
    return None


def _stamp_at(video: VideoFile, start: int, time: float) -> int:
    return min(start + int(time / video.time_base), _LAST_STAMP)


def _timed(video: VideoFile, frames: Iterator[VideoFrame], start: int) -> TimedFrames:
    last = None
    for frame in frames:
        stamp = _stamp_of(frame)
        if last is not None and stamp <= last:
            raise OutOfOrderError
        yield video.seconds(stamp - start), frame
        last = stamp


def _stamp_of(frame: VideoFrame) -> int:
    if frame.pts is None:
        raise OutOfOrderError
    return frame.pts
