"""Awkward files, made on the fly: damaged, absurd, useless, and some that only look so."""

import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.video.files import numbered_frame, write_audio, write_frames, write_numbered
from tests.video.unusual import Unusual

FRAMES, FPS, SIDE = 40, 25, 64

# What is damaged: a numbered video in each container, with B-frames where the codec has them.
CONTAINERS: dict[str, dict] = {
    "front.mp4": {"options": {"bf": "2"}, "movflags": "faststart"},
    "end.mp4": {"options": {"bf": "2"}},
    "fragments.mp4": {"options": {"bf": "2"}, "movflags": "frag_keyframe+empty_moov"},
    "h264.mkv": {"options": {"bf": "2"}},
    "h264.ts": {"options": {"bf": "2"}},
    "h264.flv": {"options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"q": "4"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "q": "4"}},
}
CUTS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
FLIPS = range(12)


@cache
def whole(name: str, count: int = FRAMES) -> bytes:
    """An intact file of numbered frames, noisy so that it is more than headers."""
    random = np.random.default_rng(0)
    shape = (SIDE, SIDE, 3)
    frames = [
        (0.6 * numbered_frame(number) + random.integers(30, 71, shape)).astype(np.uint8)
        for number in range(count)
    ]
    recipe = dict(CONTAINERS[name])
    movflags = recipe.pop("movflags", None)
    with tempfile.TemporaryDirectory() as folder:
        path = write_frames(Path(folder) / name, frames, range(count), Fraction(1, FPS), **recipe)
        if movflags:
            path = remux(path, Path(folder) / f"again-{name}", movflags)
        return path.read_bytes()


def remux(source: Path, target: Path, movflags: str) -> Path:
    """The same packets in an mp4 file that is laid out otherwise."""
    with (
        av.open(str(source)) as reader,
        av.open(str(target), "w", options={"movflags": movflags}) as writer,
    ):
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    return target


def cut(name: str, share: float) -> bytes:
    data = whole(name)
    return data[: int(share * len(data))]


def flipped(name: str, seed: int) -> bytes:
    """One to eight bits flipped, anywhere."""
    random = np.random.default_rng([seed, *name.encode()])
    data = bytearray(whole(name))
    for _ in range(1 + seed % 8):
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    return bytes(data)


def patched(box: str, offset: int, value: int, size: int = 4) -> bytes:
    """An mp4 file with one number of one box overwritten; `offset` counts from the box's name."""
    data = bytearray(whole("front.mp4"))
    start = data.index(box.encode()) + 4 + offset
    data[start : start + size] = value.to_bytes(size, "big")
    return bytes(data)


# Numbers in an mp4 file's head that make no sense, by where they stand (ISO/IEC 14496-12).
ABSURD = {
    "no clock": ("mdhd", 12, 0),
    "clock of 4 GHz": ("mdhd", 12, 2**32 - 1),
    "clock of 1 Hz": ("mdhd", 12, 1),
    "endless track": ("mdhd", 16, 2**32 - 1),
    "endless film": ("mvhd", 16, 2**32 - 1),
    "film without clock": ("mvhd", 12, 0),
    "all frames at once": ("stts", 12, 0),
    "a frame in a lifetime": ("stts", 12, 2**31 - 1),
    "time runs backwards": ("stts", 12, 2**32 - 512),
    "too many times": ("stts", 8, 2**31 - 1),
    "too few times": ("stts", 8, 3),
    "countless runs of times": ("stts", 4, 2**31),
    "delays of a century": ("ctts", 12, 2**31 - 1),
    "delays countless": ("ctts", 4, 2**30),
    "sizes countless": ("stsz", 8, 2**31 - 1),
    "no sizes": ("stsz", 8, 0),
    "all of one size": ("stsz", 4, 100),
    "all of one giant size": ("stsz", 4, 2**30),
    "chunks beyond the end": ("stco", 8, 2**31),
    "no chunks": ("stco", 4, 0),
    "chunks countless": ("stco", 4, 2**30),
    "nothing in a chunk": ("stsc", 12, 0),
    "all in a chunk": ("stsc", 12, 2**31 - 1),
    "no key frames": ("stss", 4, 0),
    "wrong key frames": ("stss", 8, 7),
    "frames of 65535 pixels": ("avc1", 24, 2**32 - 1),
    "frames of 0 pixels": ("avc1", 24, 0),
    "shown at 65535 pixels": ("tkhd", 76, 2**32 - 1),
    "shown at no size": ("tkhd", 76, 0),
    "turned by 45 degrees": ("tkhd", 40, 46341),
    "squashed to nothing": ("tkhd", 40, 0),
    "shown from a year on": ("elst", 12, 2**31 - 1),
    "shown before it starts": ("elst", 12, 2**32 - 2),
    "shown for no time": ("elst", 8, 0),
    "unknown codec": ("avc1", -4, int.from_bytes(b"zzzz", "big")),
    "broken decoder settings": ("avcC", 0, 0),
    "box of 4 GB": ("mdat", -8, 2**32 - 1),
    "box of no size": ("moov", -8, 0),
}


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _audio_as(suffix: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write_audio(path.with_suffix(suffix))
        shutil.move(path.with_suffix(suffix), path)

    return make


def _audio_with_cover(path: Path) -> None:
    """A song as music shops sell it: its only picture is the cover."""
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=16000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        for stream, shown in ((cover, av.VideoFrame(32, 32, "yuvj420p")), (sound, frame)):
            container.mux(stream.encode(shown))
            container.mux(stream.encode())


def _loop(path: Path) -> None:
    other = path.with_name("loop")
    path.symlink_to(other)
    other.symlink_to(path)


def _giant_picture(path: Path) -> None:
    """A PNG of 180 million pixels, most of them left out; FFmpeg would show it, in 540 MB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        length, check = len(data), zlib.crc32(name + data)
        return struct.pack(">I", length) + name + data + struct.pack(">I", check)

    width, height = 20000, 9000
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(4 * (1 + 3 * width)))
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def _giant_video(path: Path) -> None:
    """An uncompressed video whose head claims a thousand million pixels a frame."""
    recipe = Unusual("a.avi", "rawvideo", stamps=(0, 1))
    data = recipe.write(path.parent).read_bytes()
    small, giant = struct.pack("<ii", 64, 48), struct.pack("<ii", 32768, 32768)
    path.write_bytes(data.replace(small, giant))


def _noise(seed: int, count: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(np.random.default_rng(seed).bytes(count))


# What is no video at all, and what has to be said about it.
USELESS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "zero bytes": (lambda path: path.touch(), "empty file"),
    "folder": (lambda path: path.mkdir(), "not a file"),
    "loop of links": (_loop, "symbolic links"),
    "link to nothing": (lambda path: path.symlink_to(path.with_name("gone")), "no such file"),
    "named pipe": (lambda path: os.mkfifo(path), "not a file"),
    "one byte": (lambda path: path.write_bytes(b"\0"), "not a video"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "not a video"),
    "ones": (lambda path: path.write_bytes(b"\xff" * 5000), "not a video"),
    **{f"noise {seed}": (_noise(seed, 4000), "not a video") for seed in range(8)},
    "prose": (lambda path: _text(path, "a film about nothing\n" * 99), "not a video"),
    "web page": (lambda path: _text(path, "<html><h1>404 Not Found</h1></html>"), "not a video"),
    "git-lfs pointer": (
        lambda path: _text(path, "version https://git-lfs.github.com/spec/v1\nsize 99\n"),
        "not a video",
    ),
    "playlist": (
        lambda path: _text(path, "#EXTM3U\n#EXTINF:9,\nhttp://localhost/a.ts\n"),
        "not a video",
    ),
    "list of files": (
        lambda path: _text(path, "ffconcat version 1.0\nfile /etc/hosts\n"),
        "not a video",
    ),
    "subtitles": (
        lambda path: _text(path, "1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
        "no video stream",
    ),
    "zip archive": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200)), "not a video"),
    "giant picture": (_giant_picture, "damaged"),
    "giant video": (_giant_video, "damaged"),
    "audio in mp4": (_audio_as(".mp4"), "no video stream"),
    "audio in mkv": (_audio_as(".mkv"), "no video stream"),
    "audio in ts": (_audio_as(".ts"), "no video stream"),
    "audio in aac": (_audio_as(".aac"), "no video stream"),
    "audio with a cover": (_audio_with_cover, "no video stream"),
    "head of an mp4": (lambda path: path.write_bytes(whole("end.mp4")[:40]), "not a video"),
    "tail of an mp4": (lambda path: path.write_bytes(whole("end.mp4")[-900:]), "not a video"),
    "middle of an mkv": (lambda path: path.write_bytes(whole("h264.mkv")[5000:5400]), "not a"),
}


def _named(name: str, content: str, count: int = FRAMES) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(whole(content, count))
        return folder / name

    return make


def _picture(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(numbered_frame(7)).save(folder / f"picture{suffix}", quality=95)
        return (folder / f"picture{suffix}").rename(folder / "a.mp4")

    return make


def _several_streams(folder: Path) -> Path:
    """Sound first, then the video, then another video that is larger."""
    with av.open(str(folder / "a.mkv"), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        videos = [container.add_stream("libx264", rate=FPS) for _ in range(2)]
        for stream, side in zip(videos, (SIDE, 2 * SIDE), strict=True):
            stream.height, stream.width = side, side
            stream.pix_fmt, stream.thread_count = "yuv420p", 1
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        for number in range(FRAMES):
            for stream, shown in zip(videos, (number, 0), strict=True):
                pixels = numbered_frame(shown, stream.height, stream.width)
                frame = av.VideoFrame.from_ndarray(pixels)
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
        for stream in (sound, *videos):
            container.mux(stream.encode())
    return folder / "a.mkv"


def _edit_list(folder: Path) -> Path:
    """Copied from frame 12 on, which is no key frame: those before it are stored and hidden."""
    source = write_numbered(folder / "whole.mp4", FRAMES, FPS, gop=FRAMES)
    with av.open(str(source)) as reader, av.open(str(folder / "a.mp4"), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                shift = round(12 / FPS / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                writer.mux(packet)
    return folder / "a.mp4"


def _title_in_latin_1(folder: Path) -> Path:
    source = write_numbered(folder / "whole.mkv", FRAMES, FPS)
    with av.open(str(source)) as reader, av.open(str(folder / "a.mkv"), "w") as writer:
        writer.metadata["title"] = "Cafe au lait"
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    path = folder / "a.mkv"
    data = path.read_bytes()
    assert b"Cafe au" in data
    path.write_bytes(data.replace(b"Cafe au", b"Caf\xe9 au"))
    return path


ALL = list(range(FRAMES))

# What looks wrong and is right, and the numbers of the frames it shows.
HARMLESS: dict[str, tuple[Callable[[Path], Path], list[int]]] = {
    "mkv called mp4": (_named("a.mp4", "h264.mkv"), ALL),
    "ts called avi": (_named("a.avi", "h264.ts"), ALL),
    "mp4 called webm": (_named("a.webm", "front.mp4"), ALL),
    "webm called mov": (_named("a.mov", "vp9.webm"), ALL),
    "avi called ts": (_named("a.ts", "mpeg4.avi"), ALL),
    "flv called mkv": (_named("a.mkv", "h264.flv"), ALL),
    "mpg called txt": (_named("a.txt", "mpeg2.mpg"), ALL),
    "mp4 without suffix": (_named("video", "end.mp4"), ALL),
    "colon in the name": (_named("12:30.mp4", "end.mp4"), ALL),
    "pattern in the name": (_named("a%03d [x] é.mp4", "end.mp4"), ALL),
    "protocol in the name": (_named("http:a.mp4", "end.mp4"), ALL),
    **{f"one frame: {name}": (_named(name, name, 1), [0]) for name in CONTAINERS},
    **{
        f"two frames: {name}": (_named(name, name, 2), [0, 1])
        for name in CONTAINERS
        if name != "h264.ts"  # so short that FFmpeg takes it for a program stream
    },
    **{f"picture {s} called mp4": (_picture(s), [7]) for s in (".png", ".jpg", ".bmp", ".webp")},
    "several streams": (_several_streams, ALL),
    "frames hidden by an edit list": (_edit_list, ALL[12:]),
    "title in Latin-1": (_title_in_latin_1, ALL),
}
