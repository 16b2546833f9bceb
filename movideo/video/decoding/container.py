"""One open video file: its packets, its frames, and what can go wrong with either.

Work on a file ends at a deadline, and no error of FFmpeg leaves this module as such.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EIO
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from movideo.errors import VideoError

DEADLINE = 120.0
"""Seconds after which a call gives a file up. Set it here, or give the call its own."""

TOLERANCE = 1.001e-3
"""Seconds by which a frame may come late: Matroska and Flash round every time to a millisecond."""

LARGEST = 2**27
"""Pixels of the largest picture decoded, 16384 x 8192: a head may claim any, memory is finite."""

_WIDEST_PIXEL = 4.0
"""Anamorphic film has 2 at most; what says more is damaged."""

_LARGEST = {"max_pixels": str(LARGEST)}

_CONTAINERS = (
    *("mov", "matroska", "webm", "avi", "flv", "ogg", "asf", "mxf", "nut", "ivf", "gif", "wtv"),
    *("mpeg", "mpegts", "mpegvideo", "m4v", "h264", "hevc", "dv", "rm", "yuv4mpegpipe", "apng"),
    # No videos, but what they are is told then.
    *("png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"),
    *("aac", "mp3", "wav", "flac", "srt", "ass", "webvtt"),
)
"""What holds a video itself: a playlist would have other files read, wherever they are."""

_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(_CONTAINERS),
    **_LARGEST,
}
"""Files only: none shall make the program reach for the network."""


class DamagedError(VideoError):
    """A video that cannot be decoded from some frame on."""


class Deadline:
    """The moment at which work on a file has taken too long.

    Args:
        path: the file, for the message.
        seconds: from now; None takes `DEADLINE`.
    """

    def __init__(self, path: Path, seconds: float | None = None) -> None:
        self._path = path
        self._seconds = DEADLINE if seconds is None else seconds
        self._end = monotonic() + self._seconds

    def check(self) -> float:
        """Seconds left.

        Raises:
            VideoError: none are left.
        """
        left = self._end - monotonic()
        if left <= 0:
            raise VideoError(
                f"{self._path}: not read within {self._seconds:g} s; "
                "remove it or allow a longer deadline"
            )
        return left


@dataclass(frozen=True)
class VideoFile:
    """The first video stream of an open file, decoded on one thread."""

    path: Path
    container: InputContainer
    stream: VideoStream
    time_base: Fraction
    deadline: Deadline

    def seconds(self, ticks: int) -> float:
        """Seconds that so many units of the stream's time stamps last."""
        return ticks * self.time_base.numerator / self.time_base.denominator

    @property
    def pixel_aspect(self) -> float:
        """Width of a stored pixel over its height; 1 where what the file says makes no sense."""
        ratio = float(self.stream.sample_aspect_ratio or 1)
        return ratio if 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL else 1.0

    def packets(self) -> Iterator[Packet[Stream]]:
        """What is stored of all streams, in the order stored."""
        for packet in self.container.demux():
            self.deadline.check()
            yield packet

    def frames(
        self, is_unwanted: Callable[[Packet[VideoStream]], bool] | None = None
    ) -> Generator[VideoFrame]:
        """Frames in the order that the decoder gives them, which is that of display.

        They come from where the file stands, whatever their time stamps say, or whether they have
        any; a packet that is flagged as corrupt counts if its frames are whole.

        Args:
            is_unwanted: tells packets that need not be decoded if no other frame refers to theirs.

        Raises:
            DamagedError: the file is damaged; raised after the frames shown before the damage. What
                the decoder still holds is lost: a frame that belongs before it may be missing.
            VideoError: the deadline has passed.
        """
        try:
            for packet in self.container.demux(self.stream):
                self.deadline.check()
                if repeats_last_frame(packet):
                    continue
                skips = is_unwanted is not None and is_unwanted(packet)
                self.stream.codec_context.skip_frame = "NONREF" if skips else "DEFAULT"
                yield from _whole_frames(packet)
        except av.FFmpegError as error:
            self.deadline.check()  # a read cut off at the deadline is an error like any other
            raise DamagedError(f"{self.path}: damaged ({_what(error)}); fetch it again") from error


def repeats_last_frame(packet: Packet[Any]) -> bool:
    """Whether a packet is empty, as AVI has them where nothing moved; a decoder would end there."""
    return packet.size == 0 and packet.dts is not None


@contextmanager
def open_video(path: Path, deadline: Deadline) -> Iterator[VideoFile]:
    """Opens a file's first video stream; errors of the file system and of FFmpeg are translated.

    Raises:
        VideoError: the file is missing, empty, no video or damaged, or the deadline has passed.
    """
    _check_file(path)
    try:
        # A bare name with a colon in it would be taken for a protocol.
        with av.open(
            f"file:{path}", options=_OPTIONS, metadata_errors="replace", timeout=deadline.check()
        ) as container:
            stream = _video_stream(path, container)
            time_base = stream.time_base or Fraction(1)
            yield VideoFile(path, container, stream, time_base, deadline)
    except (av.FFmpegError, OSError) as error:
        deadline.check()
        raise VideoError(
            f"{path}: not a video, or damaged ({_what(error)}); remove it or fetch it again"
        ) from error


def first_frame(video: VideoFile, frames: Iterator[VideoFrame] | None = None) -> VideoFrame:
    """The first frame shown, which is second 0, of a file just opened.

    Raises:
        VideoError: there is none.
    """
    frame = next(frames or video.frames(), None)
    if frame is None:
        raise no_frame(video)
    return frame


def no_frame(video: VideoFile) -> VideoError:
    """The error of a file that gives no frame."""
    return VideoError(f"{video.path}: no frame can be decoded; remove it or fetch it again")


def _whole_frames(packet: Packet[VideoStream]) -> Iterator[VideoFrame]:
    """Frames that leave the decoder as a packet enters it."""
    frames = packet.decode()
    for frame in frames:
        if not frame.is_corrupt:
            yield frame
    if any(frame.is_corrupt for frame in frames):
        raise av.InvalidDataError(EIO, "a frame is incomplete")


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise VideoError(f"{path}: {_what(error).lower()}; check the path") from error
    if not path.is_file():
        raise VideoError(f"{path}: not a file; name a video file")
    if size == 0:
        raise VideoError(f"{path}: empty file; remove it or fetch it again")


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError(f"{path}: no video stream; remove it from the videos")
    context = streams[0].codec_context
    if context is None:
        raise VideoError(f"{path}: unknown video codec; convert it or remove it from the videos")
    context.thread_type, context.thread_count = "NONE", 1
    context.options = _LARGEST
    return streams[0]


def _what(error: av.FFmpegError | OSError) -> str:
    return error.strerror or type(error).__name__
