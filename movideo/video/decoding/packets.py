"""What the packets of a video file say of its frames, without decoding any."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from movideo.video.decoding.container import VideoFile, repeats_last_frame

_SEGMENT = b"\x18\x53\x80\x67"  # the element that holds all of a Matroska file but a preface

_SLACK = 0.25
"""Seconds by which a Flash file's head may overstate its length: writers differ about its end."""

_LONGEST_GAP = 10.0
"""Seconds after which a stream that is sent, not stored, has begun anew; so FFmpeg has it too."""

_SENT = ("mpeg", "mpegts")


@dataclass
class Packets:
    """What the packets say; kept themselves, they would hold the whole file in memory.

    Attributes:
        stamps: time stamp of every frame to be shown, as stored.
        count: packets of the video stream.
        reached: time stamp at which its last packet is due.
        end: seconds at which the last packet of any stream ends.
        untimed: whether a frame has no time stamp, as in bare streams.
        reordered: whether some frame is shown before another that is stored before it.
        restarts: whether the time stamps start again, as in files that were put together.
        cut: whether the file is damaged, or ends before its head says.
    """

    stamps: list[int] = field(default_factory=list)
    count: int = 0
    reached: int | None = None
    end: float = 0.0
    untimed: bool = False
    reordered: bool = False
    restarts: bool = False
    cut: bool = False

    def add(self, packet: Packet[Stream], is_video: bool, longest_gap: float) -> None:
        """Takes note of one packet."""
        if packet.pts is not None:
            self.end = max(
                self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base)
            )
        if not is_video or (packet.dts is None and not packet.size):  # or it marks a stream's end
            return
        self.count += 1
        if packet.dts is not None:
            self.restarts |= self.reached is not None and begins_anew(
                self.reached, packet.dts, longest_gap
            )
            self.reached = packet.dts
        if repeats_last_frame(packet):
            return
        self.untimed |= packet.pts is None
        if packet.pts is not None and not packet.is_discard and not _is_hidden(packet):
            self.reordered |= bool(self.stamps) and packet.pts < self.stamps[-1]
            self.stamps.append(packet.pts)


def begins_anew(before: int, after: int, longest_gap: float) -> bool:
    """Whether a stream that is decoded at these two ticks, one after the other, is two streams."""
    return after < before or after - before > longest_gap


def longest_gap(video: VideoFile) -> float:
    """Ticks that may pass between two frames of one stream."""
    sent = video.container.format.name in _SENT
    return _LONGEST_GAP / video.seconds(1) if sent else float("inf")


def read_packets(video: VideoFile) -> Packets:
    """Goes through the packets of a file just opened."""
    packets = Packets()
    gap = longest_gap(video)
    try:
        for packet in video.packets():
            packets.add(packet, packet.stream.index == video.stream.index, gap)
    except av.FFmpegError:
        video.deadline.check()  # a read cut off at the deadline is an error like any other
        packets.cut = True
    packets.cut |= _ends_early(video, packets)
    return packets


def _is_hidden(packet: Packet[Stream]) -> bool:
    """Whether a frame is there for others to refer to alone, where its codec stores such apart."""
    context = packet.stream.codec_context
    if context is None or context.name != "vp8" or not packet.size:
        return False
    return not bytes(memoryview(packet)[:1])[0] >> 4 & 1  # show_frame (RFC 6386, 9.1)


def _ends_early(video: VideoFile, packets: Packets) -> bool:
    """Whether the file holds less than its head says, where the format's head says so."""
    name = video.container.format.name
    if name.startswith("mov,"):
        return packets.count < len(video.stream.index_entries)
    if name.startswith("matroska,"):
        return video.container.size < matroska_end(video.path)
    if name == "flv":
        return packets.end + _SLACK < (video.container.duration or 0) / av.time_base
    return False


def matroska_end(path: Path) -> int:
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
