"""AVI whose packets hold a P- and a B-frame each, as XviD and DivX write: all of UCF-101."""

from fractions import Fraction
from itertools import groupby

import av
import pytest

from movideo.video.read import probe, read_frames
from tests.video.files import numbered_frame, read_number

FRAMES = 31
VOP = b"\x00\x00\x01\xb6"
USER_DATA = b"\x00\x00\x01\xb2"
FILLER = VOP + b"\x50\xc0\x00"  # a P-frame that repeats the one before, as such writers put it


def coded_frames(b_frames):
    """Frames that show their numbers, in coding order, and the head of the stream."""
    with av.open("/dev/null", "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"bf": str(b_frames)})
        stream.height = stream.width = 64
        stream.pix_fmt, stream.gop_size, stream.thread_count = "yuv420p", 10, 1
        packets = []
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode()
    head, _, _ = bytes(packets[0]).partition(USER_DATA)
    first = bytes(packets[0])
    frames = [first[first.index(VOP) :], *map(bytes, packets[1:])]
    return head, frames


def is_b(frame):
    return kind_of(frame) == 2


def kind_of(frame):
    return frame[frame.index(VOP) + 4] >> 6


def pack(frames):
    """As many packets as frames: the first B-frame rides with the P-frame, a filler ends them."""
    packets = []
    for between, run in groupby(frames, is_b):
        first, *rest = run
        if between:
            packets[-1] += first
            packets += [*rest, FILLER]
        else:
            packets += [first, *rest]
    return packets


@pytest.fixture(scope="module", params=[1, 2], ids="{} B-frames in a row".format)
def packed(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("packed") / "a.avi"
    head, frames = coded_frames(request.param)
    head += USER_DATA + b"DivX503b1393p"  # the p at its end tells that packets are packed
    packets = pack(frames)
    packets[0] = head + packets[0]
    assert max(len(list(run)) for between, run in groupby(frames, is_b) if between) == request.param
    assert len(packets) == FRAMES
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.codec_tag, stream.codec_context.extradata = "XVID", head
        container.start_encoding()
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), stream
            packet.is_keyframe = kind_of(data) == 0
            container.mux(packet)
    return path


def test_every_frame_has_its_own_time(packed):
    info = probe(packed)
    assert (len(info.times), info.fps, info.cut) == (FRAMES, 25.0, False)
    assert info.times == pytest.approx([number / 25 for number in range(FRAMES)])
    shown = [read_number(frame) for frame in read_frames(packed, info.times, distinct=True)]
    assert shown == list(range(FRAMES))


@pytest.mark.parametrize("first", range(0, FRAMES - 8, 3))
def test_also_from_the_middle(packed, first):
    times = [number / 25 for number in (first, first + 1, first + 4, first + 8)]
    shown = [read_number(frame) for frame in read_frames(packed, times)]
    assert shown == [first, first + 1, first + 4, first + 8]
