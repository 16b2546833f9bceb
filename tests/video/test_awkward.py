"""300 awkward videos: each is named with its reason, read as far as it goes, or read right."""

import io
import subprocess
import time

import av
import imageio_ffmpeg
import numpy as np
import pytest

from movideo.errors import VideoError
from movideo.video.decoding.pixels import to_float
from movideo.video.read import probe, read_pixels
from tests.video import awkward
from tests.video.awkward import ABSURD, CONTAINERS, FPS, FRAMES, HARMLESS, USELESS
from tests.video.files import read_number
from tests.video.unusual import UNUSUAL

DEADLINE = 20.0  # seconds a call may take; these files take hundredths
CUT = [
    (name, share)
    for name in CONTAINERS
    if name != "mpeg2.mpg"  # does not tell where its packets lie
    for share in awkward.CUTS
]
FLIPPED = [(name, seed) for name in CONTAINERS for seed in awkward.FLIPS]
ZEROED = [(name, share) for name in CONTAINERS for share in awkward.CUTS[::3]]


def test_there_are_300():
    assert sum(map(len, (CUT, FLIPPED, ZEROED, ABSURD, USELESS, HARMLESS, UNUSUAL))) >= 300


def read(path):
    """What a file promises and all of its frames; or the one line that says what is wrong."""
    start = time.monotonic()
    try:
        info = probe(path, DEADLINE)
        pixels = read_pixels(path, info.times, deadline=DEADLINE)
    except VideoError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert "; " in message
        assert "\n" not in message
        return message, None
    finally:
        assert time.monotonic() - start < 2 * DEADLINE
    assert pixels.shape == (len(info.times), 3, info.height, info.width)
    return info, pixels


def numbers(pixels):
    return [read_number(frame) for frame in to_float(pixels)]


def frames_before_cut(name, length):
    """How many frames lie before the first one lost, at least and at most.

    A packet is whole if the next one starts before the cut, and is not if it does not fit itself.
    """
    with av.open(io.BytesIO(awkward.whole(name))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    ends = [packet.pos for packet in packets[1:]] + [len(awkward.whole(name))]
    stamps = sorted(packet.pts for packet in packets)
    maybe_lost = [p.pts for p, end in zip(packets, ends, strict=True) if end > length]
    lost = [packet.pts for packet in packets if packet.pos + packet.size > length]
    return [sum(s < min(late, default=s + 1) for s in stamps) for late in (maybe_lost, lost)]


@pytest.mark.parametrize(("name", "share"), CUT)
def test_cut_file_gives_the_frames_before_the_cut(tmp_path, name, share):
    path = tmp_path / name
    path.write_bytes(awkward.cut(name, share))
    least, most = frames_before_cut(name, path.stat().st_size)
    # After the cut a frame may be missing before either of the two B-frames' references.
    least = 0 if name == "end.mp4" else max(0, least - 2)
    info, pixels = read(path)
    if pixels is None:
        assert least == 0
        return
    count = len(info.times)
    assert least <= count <= most
    assert info.times == pytest.approx([number / FPS for number in range(count)], abs=1e-3)
    assert numbers(pixels) == list(range(count))
    # A transport stream tells no length: one that ends between two frames is a shorter, whole one.
    assert info.cut or count == FRAMES or name == "h264.ts"


@pytest.mark.parametrize(("name", "seed"), FLIPPED)
def test_file_with_flipped_bits_is_named_or_keeps_its_promise(tmp_path, name, seed):
    path = tmp_path / name
    path.write_bytes(awkward.flipped(name, seed))
    info, pixels = read(path)
    assert pixels is None or len(info.times) <= FRAMES


@pytest.mark.parametrize(("name", "share"), ZEROED)
def test_file_with_zeros_at_its_end_is_named_or_keeps_its_promise(tmp_path, name, share):
    """As a copy leaves it that reserved the room and then broke off."""
    path = tmp_path / name
    path.write_bytes(awkward.cut(name, share).ljust(len(awkward.whole(name)), b"\0"))
    info, pixels = read(path)
    assert pixels is None or len(info.times) <= FRAMES


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_head_is_named_or_frames_come_in_order(tmp_path, name):
    path = tmp_path / "a.mp4"
    path.write_bytes(awkward.patched(*ABSURD[name]))
    _, pixels = read(path)
    assert pixels is None or (np.diff(numbers(pixels)) > 0).all()


@pytest.mark.parametrize("name", USELESS)
def test_what_is_no_video_is_named_with_its_reason(tmp_path, capfd, name):
    make, reason = USELESS[name]
    make(tmp_path / "a.mp4")
    message, pixels = read(tmp_path / "a.mp4")
    assert pixels is None
    assert reason in message
    assert capfd.readouterr().err == ""  # FFmpeg's own chatter stays off the terminal


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_file_shows_all_of_its_frames(tmp_path, monkeypatch, name):
    make, expected = HARMLESS[name]
    path = make(tmp_path).relative_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    info, pixels = read(path)
    assert not info.cut
    assert numbers(pixels) == expected


def reference(path, video):
    """All frames as the ffmpeg program decodes, converts and turns them."""
    scale = f"scale={video.scaling}:flags=bilinear+accurate_rnd+full_chroma_int"
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-threads", "1", "-noautorotate"),
        *("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-vf", f"{scale},format=rgb24,{video.turned}", "-f", "rawvideo", "-"),
    ]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)


@pytest.mark.parametrize("video", UNUSUAL, ids=lambda video: video.name)
def test_unusual_video_gives_the_frames_that_the_ffmpeg_program_gives(tmp_path, video):
    path = video.write(tmp_path)
    info, pixels = read(path)
    assert not info.cut
    expected = [float((stamp - video.stamps[0]) * video.time_base) for stamp in video.stamps]
    assert info.times == pytest.approx(expected, abs=1e-3)  # Matroska counts milliseconds
    assert info.variable_rate == ("variable" in video.name)
    frames = reference(path, video).reshape(len(pixels), info.height, info.width, 3)
    # Equal here; the two are different releases of FFmpeg, whose rounding may differ elsewhere.
    assert np.abs(frames.astype(int) - pixels.movedim(1, -1).numpy()).max() <= 1
