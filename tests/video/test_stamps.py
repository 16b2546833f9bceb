"""Files whose time stamps or packet flags are wrong give the frames that the ffmpeg program gives.

Its library and the one behind PyAV are different releases: one level of 255 may differ.
"""

import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from movideo.clips.lists.rows import IndexSettings, describe_video
from movideo.video.decoding.container import Deadline, open_video
from movideo.video.decoding.packets import read_packets
from movideo.video.decoding.timeline import _in_order, _streams
from movideo.video.read import probe, read_pixels

FPS, FRAMES = 25, 60
PROGRAM = imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg(*arguments: object) -> bytes:
    command = [PROGRAM, "-v", "fatal", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def moving(path: Path, *options: object, frames: int = FRAMES, hue: int = 0) -> Path:
    """A test picture that moves, so that no frame is like another."""
    source = f"testsrc2=s=96x64:r={FPS},hue=h={hue}"
    ffmpeg("-f", "lavfi", "-i", source, "-frames:v", frames, "-pix_fmt", "yuv420p", *options, path)
    return path


def copied(source: Path, target: Path, *options: object) -> Path:
    ffmpeg("-i", source, "-c", "copy", *options, target)
    return target


def joined(target: Path, *parts: Path) -> Path:
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def program_frames(path: Path, height: int = 64, width: int = 96) -> np.ndarray:
    scale = "scale=in_chroma_loc=left:flags=bilinear+accurate_rnd+full_chroma_int,format=rgb24"
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-vf", scale, "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).astype(int)


X264 = ("-c:v", "libx264", "-g", 20, "-bf", 3)
PTS_LOST = ("-bsf:v", "setts=pts=DTS")


def b_frames_in(name: str):
    return lambda folder: copied(moving(folder / "a.mp4", *X264), folder / name)


def stamps_of_storage(name: str):
    """As cameras and cheap editors write it: each frame has the stamp of its place in the file."""
    return lambda folder: copied(moving(folder / "a.mp4", *X264), folder / name, *PTS_LOST)


def twice(name: str, *codec: object):
    def make(folder: Path) -> Path:
        parts = [moving(folder / f"{hue}{Path(name).suffix}", *codec, hue=hue) for hue in (0, 90)]
        return joined(folder / name, *parts)

    return make


def segments(folder: Path) -> Path:
    """Their continuity counters start again: the packets there are flagged as corrupt."""
    split = ("-f", "segment", "-segment_time", 0.8, folder / "%d.ts")
    ffmpeg("-i", moving(folder / "a.mp4", *X264), "-c", "copy", *split)
    return joined(folder / "all.ts", *(folder / f"{number}.ts" for number in range(3)))


def three_short_ones(folder: Path) -> Path:
    parts = [moving(folder / f"{n}.ts", *X264, frames=10, hue=60 * n) for n in range(3)]
    return joined(folder / "all.ts", *parts)


def hours_later(folder: Path) -> Path:
    first = moving(folder / "a.ts", *X264)
    return joined(folder / "b.ts", first, copied(first, folder / "c.ts", "-output_ts_offset", 7200))


WRONG = {
    "H.264 in AVI": (b_frames_in("a.avi"), FRAMES),
    "H.264 in ASF": (b_frames_in("a.asf"), FRAMES),
    "H.264 in MXF": (b_frames_in("a.mxf"), FRAMES),
    "H.265 in AVI": (
        lambda f: copied(
            moving(f / "a.mp4", "-c:v", "libx265", "-x265-params", "log-level=none"), f / "a.avi"
        ),
        FRAMES,
    ),
    "stamps of storage in mp4": (stamps_of_storage("b.mp4"), None),  # two go to its edit list
    "stamps of storage in mkv": (stamps_of_storage("b.mkv"), FRAMES),
    "stamps of storage in flv": (stamps_of_storage("b.flv"), FRAMES),
    "stamps of storage in ts": (stamps_of_storage("b.ts"), FRAMES),
    "bare H.264": (lambda folder: moving(folder / "a.h264", *X264), FRAMES),
    "bare H.265": (
        lambda f: moving(f / "a.hevc", "-c:v", "libx265", "-x265-params", "log-level=none"),
        FRAMES,
    ),
    "bare MPEG-2": (lambda f: moving(f / "a.m2v", "-c:v", "mpeg2video", "-bf", 2), FRAMES),
    "ts and ts": (twice("a_b.ts", *X264), 2 * FRAMES),
    "mpg and mpg": (twice("a_b.mpg", "-c:v", "mpeg2video", "-bf", 2), 2 * FRAMES),
    "mkv and mkv": (twice("a_b.mkv", *X264), 2 * FRAMES),
    "three short ts": (three_short_ones, 30),
    "ts and ts of two hours later": (hours_later, 2 * FRAMES),
    "segments of one ts": (segments, FRAMES),
}


@pytest.mark.parametrize("name", WRONG)
def test_frames_are_those_of_the_program_in_order(tmp_path, name):
    make, count = WRONG[name]
    path = make(tmp_path)
    expected = program_frames(path)
    info = probe(path)
    assert not info.cut
    assert len(expected) == len(info.times) == (count or len(expected))
    if count:  # at their rate; Matroska and Flash count milliseconds
        assert info.times == pytest.approx([n / FPS for n in range(count)], abs=1.001e-3)
    frames = read_pixels(path, info.times).movedim(1, -1).numpy().astype(int)
    assert np.abs(frames - expected).max() <= 1
    for index in range(0, len(frames), 7):  # and each by itself, wherever a search would lead
        (frame,) = read_pixels(path, [info.times[index]]).movedim(1, -1).numpy()
        assert np.array_equal(frame, frames[index])


@pytest.mark.parametrize("name", ["H.264 in AVI", "stamps of storage in mkv", "ts and ts"])
def test_index_lists_such_a_file_whole(tmp_path, name):
    make, count = WRONG[name]
    row, *_ = describe_video(str(make(tmp_path)), IndexSettings())
    assert (row.frames, row.cut_short, row.video_fps) == (count, False, FPS)
    assert row.reason is None


def test_an_avi_gives_at_five_frames_a_second_what_the_same_stream_gives_in_mp4(tmp_path):
    mp4 = moving(tmp_path / "a.mp4", *X264)
    avi = copied(mp4, tmp_path / "a.avi")
    times = [number / 5 for number in range(12)]
    shown = read_pixels(avi, times, distinct=True)
    assert np.array_equal(shown.numpy(), read_pixels(mp4, times, distinct=True).numpy())


# ------------------------------------------------------------------------- frames that do not exist


def chunks(data: bytes, start: int):
    while start < len(data):
        (size,) = struct.unpack_from("<I", data, start + 4)
        yield data[start : start + 4], data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def with_empty_frames(source: Path, target: Path, empty: set[int]) -> Path:
    """An AVI without those frames: the chunk is there and empty, as screen recorders write it."""
    parts = []
    for name, data in chunks(source.read_bytes(), 12):
        if data.startswith(b"movi"):
            frames = [part for part in chunks(data, 4) if part[0] == b"00dc"]
            kept = [b"" if n in empty else frame for n, (_, frame) in enumerate(frames)]
            data = b"movi" + b"".join(chunk(b"00dc", frame) for frame in kept)
        if name != b"idx1":
            parts.append(chunk(name, data))
    target.write_bytes(chunk(b"RIFF", b"AVI " + b"".join(parts)))
    return target


@pytest.mark.parametrize("empty", [{20}, {7, 8, 9}, {1, 58}], ids=str)
def test_an_empty_packet_keeps_the_last_frame_on_display(tmp_path, empty):
    source = moving(tmp_path / "a.avi", "-c:v", "mjpeg", "-q:v", 2, "-pix_fmt", "yuvj420p")
    path = with_empty_frames(source, tmp_path / "b.avi", empty)
    raw = ffmpeg(
        *(
            "-i",
            path,
            "-vf",
            f"fps={FPS},scale=in_chroma_loc=auto:flags=bilinear+accurate_rnd+full_chroma_int",
        ),
        *("-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
    )
    expected = np.frombuffer(raw, np.uint8).reshape(FRAMES, 64, 96, 3).astype(int)
    times = [number / FPS for number in range(FRAMES)]
    shown = read_pixels(path, times).movedim(1, -1).numpy().astype(int)
    assert np.abs(shown - expected).max() <= 1
    assert [number for number, time in enumerate(times) if time not in probe(path).times] == sorted(
        empty
    )


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize("container", ["webm", "ivf"])
def test_hidden_frames_are_not_counted(tmp_path, codec, container):
    """Alternate references, which VP8 stores as packets of their own with another's stamp."""
    encoder = ("-c:v", codec, "-auto-alt-ref", 1, "-lag-in-frames", 16, "-b:v", "200k", "-an")
    log = ("-passlogfile", tmp_path / "log")
    moving(Path("/dev/null"), *encoder, "-pass", 1, *log, "-f", "null")
    webm = moving(tmp_path / "a.webm", *encoder, "-pass", 2, *log)
    path = webm if container == "webm" else copied(webm, tmp_path / "a.ivf")
    with open_video(path, Deadline(path)) as video:
        packets = read_packets(video)
    assert packets.count > FRAMES or codec == "libvpx-vp9"  # VP9 puts two frames into a packet
    assert len(program_frames(path)) == len(probe(path).times) == FRAMES


# ------------------------------------------------------------------------------- the rules by hand


def test_where_one_stream_ends_and_the_next_begins():
    def split(*stamps, gap=float("inf")):
        return list(_streams(stamps, 1.0, gap))

    assert split(0, 3, 1, 2, 4) == [[0, 3, 1, 2, 4]]  # out of order is not anew
    assert split(5, 6, 7, 5, 6, 7) == [[5, 6, 7], [5, 6, 7]]
    assert split(*range(40), 10) == [list(range(40)), [10]]  # no codec holds back 29 frames
    assert split(0, 1, 50, 51, gap=10) == [[0, 1], [50, 51]]
    assert split(None, None) == [[None, None]]


def test_stamps_are_sorted_and_missing_ones_are_even():
    assert _in_order([4, 16, 8, 12, 24], 4.0) == [0, 4, 8, 12, 20]
    assert _in_order([4, None, 8], 5.0) == [0, 5, 10]
    assert _in_order([4, 8, 8], 5.0) == [0, 5, 10]
    assert _in_order([0, 24, 48, 49], 24.0) == [0, 24, 48, 72]  # an AVI's last stamp is made up
