"""Frames of a video file by their time, and still pictures.

Times are seconds since the first frame shown, taken from the file's presentation times, so that
constant rate, variable rate, B-frames, start offsets and edit lists are all one case.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageOps
from torch import Tensor

from movideo.errors import UserError
from movideo.video.pixels import decode_frame, fit, rotation, to_float

TOLERANCE = 1.001e-3
"""Seconds by which a frame may come late: Matroska and Flash round every time to a millisecond."""

_BACK_OFF = (0.0, 1.0, 10.0)
"""Seconds to seek further back: a key frame decoded before the time may be shown after it."""

_UNSEARCHABLE = ("mpeg",)
"""Formats with wrong times after a seek: MPEG program streams stamp packs, not frames."""


class VideoError(UserError):
    """A video or picture that cannot be used; one line, `PATH: reason; what to do`."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file shows, and when.

    Attributes:
        path: the file.
        times: presentation time of every frame, seconds since the first, strictly ascending.
        width: pixels, as shown (after rotation).
        height: pixels, as shown (after rotation).
        rotation: degrees counter-clockwise by which stored frames are turned: 0, 90, 180 or 270.
        codec: name of the video codec, such as `h264`.
    """

    path: Path
    times: tuple[float, ...]
    width: int
    height: int
    rotation: int
    codec: str

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


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The first video stream, decoded on one thread; every failure becomes a `VideoError`."""
    if not path.is_file():
        raise VideoError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: empty file; remove it or fetch it again")
    try:
        # Files only: a playlist that calls itself .mp4 must not reach for the network.
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            pictures = [
                s for s in container.streams.video if not s.disposition & Disposition.attached_pic
            ]
            if not pictures:
                raise VideoError(f"{path}: no video stream; remove it from the videos")
            stream = pictures[0]
            stream.thread_type, stream.thread_count = "NONE", 1
            yield container, stream
    except (av.FFmpegError, OSError) as error:
        what = error.strerror or type(error).__name__
        raise VideoError(
            f"{path}: not a video, or damaged ({what}); remove it or fetch it again"
        ) from error


def _decode(
    container: InputContainer, stream: VideoStream, start: int = 0
) -> Iterator[tuple[float, VideoFrame]]:
    """Frames in the order shown, each with its seconds since the time stamp `start`."""
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield _seconds(frame.pts - start, stream), frame


def _first(container: InputContainer, stream: VideoStream, path: Path) -> tuple[int, VideoFrame]:
    """The first frame and its time stamp, which is second 0."""
    for frame in container.decode(stream):
        if frame.pts is not None:
            return frame.pts, frame
    raise VideoError(f"{path}: no frame can be decoded; remove it or fetch it again")


def _seconds(ticks: int, stream: VideoStream) -> float:
    return float(ticks * (stream.time_base or 0))


def probe(path: str | Path) -> VideoInfo:
    """Reads the time of every frame from the packets, and decodes the first and the last frame.

    Raises:
        VideoError: the file is missing, empty, not a video, without a video stream, or damaged.
    """
    path = Path(path)
    with _open(path) as (container, stream):
        # Time stamps alone: packets kept would hold the whole file in memory.
        packets = [(p.pts, p.is_discard, p.is_corrupt) for p in container.demux(stream) if p.size]
        codec = stream.codec_context.name
    if any(corrupt for _, _, corrupt in packets):
        raise VideoError(f"{path}: damaged or cut short; fetch it again")
    with _open(path) as (container, stream):
        start, first = _first(container, stream, path)
        stamps = [stamp for stamp, hidden, _ in packets if not hidden]
        if None in stamps:  # bare streams: only the decoder knows
            stamps = [start, *(frame.pts for frame in container.decode(stream))]
        ticks = {stamp - start for stamp in stamps if stamp is not None and stamp >= start}
        times = tuple(_seconds(tick, stream) for tick in sorted(ticks))
    _check_last(path, times[-1])
    turn = rotation(first)
    width, height = (first.height, first.width) if turn % 180 else (first.width, first.height)
    return VideoInfo(path, times, width, height, turn, codec)


def _check_last(path: Path, time: float) -> None:
    last = deque(_frames_from(path, time), maxlen=1)
    if not last or abs(last[0][0] - time) > TOLERANCE:
        raise VideoError(
            f"{path}: damaged, its last frame at {time:.3f} s does not decode; fetch it again"
        )


def _frames_from(path: Path, time: float) -> Iterator[tuple[float, VideoFrame]]:
    """Frames in the order shown with their times, from one at or before `time` to the end."""
    with _open(path) as (container, stream):
        start, _ = _first(container, stream, path)
        searchable = container.format.name not in _UNSEARCHABLE
        for earlier in (time - back for back in _BACK_OFF if searchable and time > back):
            try:
                container.seek(start + int(earlier / (stream.time_base or 1)), stream=stream)
                frames = _decode(container, stream, start)
                first = next(frames, None)
            except av.FFmpegError:  # some formats cannot be searched
                break
            if first is not None and first[0] <= time + TOLERANCE:
                yield first
                yield from frames
                return
    with _open(path) as (container, stream):
        yield from _decode(container, stream, start)


def _on_display(path: Path, times: Iterable[float]) -> Iterator[tuple[float, VideoFrame]]:
    """The frame on display at each of the ascending `times`, with the frame's own time."""
    pending = deque(times)
    shown: tuple[float, VideoFrame] | None = None
    for time, frame in _frames_from(path, pending[0]):
        while shown and pending and time > pending[0] + TOLERANCE:
            pending.popleft()
            yield shown
        if not pending:
            return
        shown = time, frame
    end = _end(*shown) if shown else 0.0
    while shown and pending and pending[0] <= end:
        pending.popleft()
        yield shown
    if pending:
        raise VideoError(
            f"{path}: no frame at {pending[0]:.3f} s, it ends at {end:.3f} s; ask for earlier times"
        )


def _end(time: float, frame: VideoFrame) -> float:
    """Time at which the last frame leaves the screen."""
    assert frame.time_base is not None
    return time + max(float((frame.duration or 0) * frame.time_base), TOLERANCE)


def read_frames(
    path: str | Path,
    times: Sequence[float],
    size: tuple[int, int] | None = None,
    distinct: bool = False,
) -> Tensor:
    """Reads the frame on display at each time: the last one shown at or before it.

    Args:
        path: a video file.
        times: seconds since the first frame, in any order, F of them.
        size: (height, width): shorter side resized, centre cropped; None keeps the file's size.
        distinct: whether two times that fall on one frame are an error.

    Returns:
        `(F, 3, H, W)` RGB in [-1, 1], float32.

    Raises:
        VideoError: the file cannot be read, a time lies outside it, or a frame repeats under
            `distinct`.
    """
    path = Path(path)
    if not times or min(times) < 0:
        raise VideoError(f"{path}: times {list(times)} asked for; give one or more, none below 0 s")
    order = sorted(range(len(times)), key=lambda index: times[index])
    pictures: dict[float, Tensor] = {}
    sources: dict[int, float] = {}
    for index, (time, frame) in zip(
        order, _on_display(path, (times[i] for i in order)), strict=True
    ):
        if time not in pictures:
            pictures[time] = fit(decode_frame(frame), size)
        sources[index] = time
    if distinct and len(pictures) < len(times):
        raise VideoError(
            f"{path}: {len(pictures)} distinct frames where {len(times)} are needed; index it again"
        )
    return to_float(torch.stack([pictures[sources[index]] for index in range(len(times))]))


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """Reads a still picture upright (by its EXIF tag), resized and cropped as by `read_frames`.

    Returns:
        `(3, H, W)` RGB in [-1, 1], float32.

    Raises:
        VideoError: the file is missing or is not a picture.
    """
    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{path}: no such file; check the path")
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VideoError(f"{path}: not an image, or damaged; give a PNG or JPEG file") from error
    return to_float(fit(torch.from_numpy(np.array(upright)).permute(2, 0, 1), size))
