"""When each frame of a file is shown: by its time stamp, or where stamps are wrong, by its place.

A decoder gives frames in the order of display. Stamps say when, and are weaker evidence: some
containers cannot store them for frames that are coded out of order, bare streams have none, and
files that were put together start again. In such a file the frames are counted, and the stamps,
brought into the order of the frames, only tell how far apart these are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

from movideo.video.decoding.container import (
    TOLERANCE,
    DamagedError,
    VideoFile,
    no_frame,
    open_video,
)
from movideo.video.decoding.packets import Packets, longest_gap, matroska_end, read_packets

_SAMPLE = 32
"""Frames decoded to see whether they come as their stamps say; runs of B-frames are shorter."""

_REORDERED = 16  # frames that a codec may hold back to bring them into order (H.264, H.265)

_UNTOLD_RATE = 25  # frames per second of a stream that does not say, for FFmpeg too

_HIGHEST_RATE = 1 / (2 * TOLERANCE)  # at a higher one frames cannot be told by their times

_KEPT = 16  # files whose frames stay counted

_Key = tuple[str, int, int]


@dataclass(frozen=True)
class Timeline:
    """When the frames of a file are shown.

    Attributes:
        times: seconds since the first frame, strictly ascending.
        cut: whether the file is damaged; `times` are then those before the damage.
        counted: whether frames are told by their place; `times` has then each that is decoded.
    """

    times: tuple[float, ...]
    cut: bool = False
    counted: bool = False


def counted_frames(video: VideoFile) -> Timeline | None:
    """The frames of a file just opened if they have to be counted; None if stamps can be trusted.

    Of formats that keep a table of their frames the beginning is enough to trust them. If stamps
    are wrong further on, the frames themselves show it (see `random_access.OutOfOrderError`).

    Raises:
        VideoError: the file cannot be decoded, or the deadline has passed.
    """
    key = _key(video)
    if key not in _timelines and _has_table(video) and _seems_ordered(video):
        return None
    if key not in _timelines:
        with open_video(video.path, video.deadline) as again:
            packets = read_packets(again)
        with open_video(video.path, video.deadline) as again:
            trusted = are_stamps_right(again, packets)
        _keep(key, None if trusted else count_frames(video))
    return _timelines[key]


def count_frames(video: VideoFile) -> Timeline:
    """Decodes all of a file to count its frames.

    Raises:
        VideoError: no frame can be decoded, or the deadline has passed.
    """
    key = _key(video)
    if _timelines.get(key) is None:
        with open_video(video.path, video.deadline) as again:
            _keep(key, _decode_all(again))
    found = _timelines[key]
    assert found is not None
    return found


def are_stamps_right(video: VideoFile, packets: Packets) -> bool:
    """Whether frames can be told by their stamps.

    Args:
        video: the file, just opened; its first frames are decoded.
        packets: what its packets say.
    """
    if packets.untimed or packets.restarts:
        return False
    # In the order of storage, where the codec may store frames in another, they are suspicious.
    is_ordered = packets.reordered or not video.stream.codec_context.has_b_frames
    is_likely = is_ordered and len(set(packets.stamps)) == len(packets.stamps)
    try:
        decoded = [frame.pts for frame in islice(video.frames(), _SAMPLE if is_likely else None)]
    except DamagedError:
        return True  # and cut; what comes before the damage is checked as it is read
    stored = sorted(stamp for stamp in packets.stamps if decoded and stamp >= (decoded[0] or 0))
    return decoded == stored[: len(decoded)]


_timelines: OrderedDict[_Key, Timeline | None] = OrderedDict()


def _key(video: VideoFile) -> _Key:
    status = video.path.stat()
    return str(video.path.absolute()), status.st_size, status.st_mtime_ns


def _keep(key: _Key, timeline: Timeline | None) -> None:
    _timelines[key] = timeline
    while len(_timelines) > _KEPT:
        _timelines.popitem(last=False)


def _has_table(video: VideoFile) -> bool:
    name = video.container.format.name
    if name.startswith("matroska,"):
        return video.container.size <= (matroska_end(video.path) or video.container.size)
    return name.startswith("mov,")


def _seems_ordered(video: VideoFile) -> bool:
    """Whether the first packets have stamps as the codec needs them: in another order, or any."""
    if not video.stream.codec_context.has_b_frames:
        return True
    with open_video(video.path, video.deadline) as again:
        packets = (packet for packet in again.packets() if packet.stream.type == "video")
        stamps = [packet.pts for packet in islice(packets, 2 * _SAMPLE)]
    known = [stamp for stamp in stamps if stamp is not None]
    return known != sorted(known)


def _decode_all(video: VideoFile) -> Timeline:
    stamps: list[int | None] = []
    cut = False
    try:
        for frame in video.frames():
            stamps.append(frame.pts)
    except DamagedError:
        cut = True
    if not stamps:
        raise no_frame(video)
    rate = float(video.stream.guessed_rate or 0)
    step = 1 / (rate if 0 < rate < _HIGHEST_RATE else _UNTOLD_RATE) / video.seconds(1)
    ticks: list[float] = []
    for stream in _streams(stamps, step, longest_gap(video)):
        since = ticks[-1] + step if ticks else 0.0
        ticks += [since + tick for tick in _in_order(stream, step)]
    return Timeline(tuple(video.seconds(1) * tick for tick in ticks), cut, counted=True)


def _streams(
    stamps: Iterable[int | None], step: float, longest_gap: float
) -> Iterator[list[int | None]]:
    """The stamps of files that were put together, file by file."""
    stream: list[int | None] = []
    first = last = None
    for stamp in stamps:
        if stamp is not None:
            if first is None or last is None:
                first = last = stamp
            elif not max(first, last - _REORDERED * step) < stamp <= last + longest_gap:
                yield stream
                stream, first, last = [], stamp, stamp
            last = max(last, stamp)
        stream.append(stamp)
    yield stream


def _in_order(stamps: Sequence[int | None], step: float) -> list[float]:
    """Strictly ascending ticks from 0: the stamps sorted; where some lack, even steps.

    The last of an AVI's stamps are made up, a tick apart: so is whatever is much less than a step.
    """
    known = sorted({stamp for stamp in stamps if stamp is not None})
    if len(known) < len(stamps):
        return [index * step for index in range(len(stamps))]
    gaps = (after - before for before, after in pairwise(known))
    return list(accumulate((gap if gap > step / 4 else step for gap in gaps), initial=0.0))
