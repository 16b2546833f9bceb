"""What a video file shows, and when: from its packets, decoding no more than it takes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from movideo.video.decoding.container import (
    TOLERANCE,
    DamagedError,
    Deadline,
    VideoFile,
    first_frame,
    open_video,
    stamp_of,
)
from movideo.video.decoding.pixels import rotation, shown_size
from movideo.video.decoding.random_access import frames_around

_UNEVEN = 0.1
"""Share of a step by which a frame of a constant rate may be off: coarse clocks round more."""

_SEGMENT = b"\x18\x53\x80\x67"  # the element that holds all of a Matroska file but a preface

_SLACK = 0.25
"""Seconds by which a Flash file's head may overstate its length: writers differ about its end."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file shows, and when.

    Attributes:
        path: the file.
        times: presentation time of every frame, seconds since the first, strictly ascending.
        width: pixels, as shown (after rotation).
        height: pixels, as shown (after rotation).
        rotation: degrees counter-clockwise by which stored frames are turned to be shown: 0, 90,
            180 or 270.
        codec: name of the video codec, such as `h264`.
        cut: whether the file ends early or is damaged; `times` are then those before the damage.
    """

    path: Path
    times: tuple[float, ...]
    width: int
    height: int
    rotation: int
    codec: str
    cut: bool = False

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
    """Reads the time of every frame from the packets, and decodes the first and the last frame.

    A file that ends early or is damaged is decoded as far as it goes.

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
        packets = _read_packets(video)
    with open_video(path, limit) as video:
        first = first_frame(video)
        times = _seconds(video, packets.stamps, since=stamp_of(first))
    cut = packets.cut or not _last_decodes(path, times, limit)
    if cut or packets.untimed:
        times, damaged = _decode_times(path, packets.reached if cut else None, limit)
        cut = cut or damaged
    height, width = shown_size(first)
    return VideoInfo(path, times, width, height, rotation(first), codec, cut)


@dataclass
class _Packets:
    """What the packets say; kept themselves, they would hold the whole file in memory.

    Attributes:
        stamps: time stamp of every frame to be shown, as stored.
        count: packets of the video stream.
        reached: time stamp at which its last packet is due.
        end: seconds at which the last packet of any stream ends.
        untimed: whether a frame has no time stamp, as in bare streams: the decoder then makes them.
        cut: whether the file is damaged, or ends before its head says.
    """

    stamps: list[int] = field(default_factory=list)
    count: int = 0
    reached: int | None = None
    end: float = 0.0
    untimed: bool = False
    cut: bool = False

    def add(self, packet: Packet[Stream], is_video: bool) -> None:
        """Takes note of one packet."""
        if packet.pts is not None:
            self.end = max(
                self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base)
            )
        if not is_video or (packet.dts is None and not packet.size):  # or it marks a stream's end
            return
        self.count += 1
        self.reached = self.reached if packet.dts is None else packet.dts
        self.untimed |= packet.pts is None
        if packet.pts is not None and packet.size and not packet.is_discard:
            self.stamps.append(packet.pts)


def _read_packets(video: VideoFile) -> _Packets:
    packets = _Packets()
    try:
        for packet in video.packets():
            packets.add(packet, packet.stream.index == video.stream.index)
    except av.FFmpegError:
        video.deadline.check()  # a read cut off at the deadline is an error like any other
        packets.cut = True
    packets.cut |= _ends_early(video, packets)
    return packets


def _ends_early(video: VideoFile, packets: _Packets) -> bool:
    """Whether the file holds less than its head says, where the format's head says so."""
    name = video.container.format.name
    if name.startswith("mov,"):
        return packets.count < len(video.stream.index_entries)
    if name.startswith("matroska,"):
        return video.container.size < _segment_end(video.path)
    if name == "flv":
        return packets.end + _SLACK < (video.container.duration or 0) / av.time_base
    return False


def _segment_end(path: Path) -> int:
    """Byte at which a Matroska file's segment ends by its head; 0 where that is left open.

    The leading zero bits of a size count the bytes that follow; all ones leave it open (RFC 8794).
    """
    with path.open("rb") as file:
        _, _, size_on = file.read(256).partition(_SEGMENT)
        start = file.seek(-len(size_on), os.SEEK_CUR)
    if not size_on:
        return 0
    length = 9 - size_on[0].bit_length()
    most = (1 << 7 * length) - 1
    size = int.from_bytes(size_on[:length], "big") & most
    return 0 if size == most else start + length + size


def _last_decodes(path: Path, times: tuple[float, ...], limit: Deadline) -> bool:
    """Whether the file ends with the frame that its packets promise."""
    if not times:
        return False
    try:
        with open_video(path, limit) as video:
            ((last, _),) = deque(frames_around(video, times[-1:]), maxlen=1)
    except DamagedError:
        return False
    return abs(last - times[-1]) <= TOLERANCE


def _decode_times(
    path: Path, reached: int | None, limit: Deadline
) -> tuple[tuple[float, ...], bool]:
    """Times of the frames that decode, and whether that ended in damage.

    Where the end of the file is missing, `reached` is the time stamp at which the last packet left
    is due. A frame shown later may lack one before it, and is left out.
    """
    stamps: list[int] = []
    damaged = False
    with open_video(path, limit) as video:
        try:
            for frame in video.frames():
                stamps.append(stamp_of(frame))
        except DamagedError:
            damaged = True
        last = max(stamps) if reached is None else max(stamps[0], reached)
        return _seconds(video, (s for s in stamps if s <= last), since=stamps[0]), damaged


def _seconds(video: VideoFile, stamps: Iterable[int], since: int) -> tuple[float, ...]:
    """Ascending seconds of the time stamps from `since` on."""
    return tuple(sorted({video.seconds(stamp - since) for stamp in stamps if stamp >= since}))
