"""What a video file shows, and when: from its packets, decoding no more than it takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from av.video.frame import VideoFrame

from movideo.video.decoding.container import (
    TOLERANCE,
    DamagedError,
    Deadline,
    VideoFile,
    first_frame,
    open_video,
)
from movideo.video.decoding.packets import Packets, read_packets
from movideo.video.decoding.pixels import rotation, shown_size
from movideo.video.decoding.random_access import OutOfOrderError, frames_around
from movideo.video.decoding.timeline import Timeline, are_stamps_right, count_frames

_UNEVEN = 0.1
"""Share of a step by which a frame of a constant rate may be off: coarse clocks round more."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file shows, and when.

    Attributes:
        path: the file.
        times: presentation time of every frame, seconds since the first, strictly ascending.
        width: pixels, as shown: square, after rotation.
        height: pixels, as shown: square, after rotation.
        rotation: degrees counter-clockwise by which stored frames are turned to be shown: 0, 90,
            180 or 270.
        codec: name of the video codec, such as `h264`.
        cut: whether the file ends early or is damaged; `times` are then those before the damage.
        counted: whether its time stamps are wrong: frames are then told by their place in it.
        interlaced: whether frames consist of two fields, taken one after the other.
    """

    path: Path
    times: tuple[float, ...]
    width: int
    height: int
    rotation: int
    codec: str
    cut: bool = False
    counted: bool = False
    interlaced: bool = False

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last; 0 for a single frame."""
        return self.times[-1]

    @property
    def fps(self) -> float:
        """Average frames per second, whole where the last frame's time agrees; 0 for one frame."""
        if self.duration == 0:
            return 0.0
        steps = len(self.times) - 1
        fps = steps / self.duration
        # A millisecond clock makes 30 fps look like 30.02 on a short clip.
        blurred = all(abs(1000 * time - round(1000 * time)) < 1e-6 for time in self.times)
        whole = max(1, round(fps))
        agrees = abs(steps / whole - self.duration) < (TOLERANCE if blurred else 1e-6)
        return float(whole) if agrees else fps

    @property
    def variable_rate(self) -> bool:
        """Whether some frame is off the average rate, by more than a clock's rounding explains."""
        step = self.duration / max(1, len(self.times) - 1)
        allowed = max(_UNEVEN * step, TOLERANCE)
        return any(abs(time - step * index) > allowed for index, time in enumerate(self.times))


def probe(path: str | Path, deadline: float | None = None) -> VideoInfo:
    """Reads the time of every frame from the packets, and decodes the first frames and the last.

    A file whose time stamps are wrong, that ends early or is damaged is decoded as far as it goes.

    Args:
        path: a video file.
        deadline: seconds after which the file is given up; None takes `container.DEADLINE`.

    Raises:
        VideoError: the file is missing, empty, not a video, without a video stream or without a
            frame that can be decoded; or the deadline has passed.
    """
    path = Path(path)
    limit = Deadline(path, deadline)
    with open_video(path, limit) as video:
        codec = video.stream.codec_context.name
        packets = read_packets(video)
    with open_video(path, limit) as video:
        first = first_frame(video)
        timeline = _timeline(video, first, packets)
        height, width = shown_size(first, video.pixel_aspect)
    return VideoInfo(
        path,
        timeline.times,
        width,
        height,
        rotation(first),
        codec,
        timeline.cut,
        timeline.counted,
        first.interlaced_frame,
    )


def _timeline(video: VideoFile, first: VideoFrame, packets: Packets) -> Timeline:
    try:
        with open_video(video.path, video.deadline) as again:
            is_right = first.pts is not None and are_stamps_right(again, packets)
        if is_right:
            times = _seconds(video, packets.stamps, since=first.pts or 0)
            if not packets.cut and _last_decodes(video, times):
                return Timeline(times)
            return _decoded(video, packets.reached)
    except OutOfOrderError:
        pass
    counted = count_frames(video)
    return replace(counted, cut=counted.cut or packets.cut)


def _last_decodes(video: VideoFile, times: tuple[float, ...]) -> bool:
    """Whether the file ends with the frame that its packets promise."""
    if not times:
        return False
    try:
        with open_video(video.path, video.deadline) as again:
            ((last, _),) = deque(frames_around(again, times[-1:], is_counted=False), maxlen=1)
    except DamagedError:
        return False
    return abs(last - times[-1]) <= TOLERANCE


def _decoded(video: VideoFile, reached: int | None) -> Timeline:
    """What decodes of a file whose end is missing, or that ends in damage.

    `reached` is the time stamp at which the last packet left is due. A frame shown later may lack
    one before it, and is left out.
    """
    stamps: list[int] = []
    with open_video(video.path, video.deadline) as again, suppress(DamagedError):
        for frame in again.frames():
            if frame.pts is None or (stamps and frame.pts <= stamps[-1]):
                raise OutOfOrderError
            stamps.append(frame.pts)
    last = stamps[-1] if reached is None else max(stamps[0], reached)
    times = _seconds(video, (stamp for stamp in stamps if stamp <= last), since=stamps[0])
    return Timeline(times, cut=True)


def _seconds(video: VideoFile, stamps: Iterable[int], since: int) -> tuple[float, ...]:
    """Ascending seconds of the time stamps from `since` on."""
    return tuple(sorted({video.seconds(stamp - since) for stamp in stamps if stamp >= since}))
