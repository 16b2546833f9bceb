import gc
import itertools
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from PIL import Image

from movideo.errors import VideoError
from movideo.video.decoding import container
from movideo.video.decoding.container import Deadline, open_video
from movideo.video.decoding.pixels import fit
from movideo.video.decoding.random_access import frames_around
from movideo.video.read import VideoInfo, probe, read_frames, read_image, read_pixels
from tests.video.files import numbered_frame, read_number, write_frames, write_numbered
from tests.video.unusual import picture

NTSC = Fraction(30000, 1001)


def numbers(video):
    return [read_number(frame) for frame in video]


@pytest.fixture(scope="module")
def ntsc(tmp_path_factory):
    return write_numbered(tmp_path_factory.mktemp("read") / "ntsc.mp4", 200, NTSC, gop=25)


def test_probe_gives_exact_times(ntsc):
    info = probe(ntsc)
    assert info.times == pytest.approx([n / float(NTSC) for n in range(200)], abs=1e-9)
    assert (info.width, info.height, info.rotation, info.codec) == (64, 64, 0, "h264")
    assert info.fps == pytest.approx(float(NTSC), abs=1e-9)
    assert info.duration == pytest.approx(199 / float(NTSC), abs=1e-9)


@pytest.mark.parametrize("start", [0.0, 0.7, 1.234])
def test_three_fps_from_ntsc_gives_exactly_the_frames_on_display(ntsc, start):
    times = [start + i / 3 for i in range(16)]
    # Frame n is on display from n * 1001 / 30000 s; a millisecond late still counts.
    expected = [int((Fraction(time) + Fraction("0.001001")) * NTSC) for time in times]
    assert numbers(read_frames(ntsc, times)) == expected


def test_times_in_any_order_and_repeated(ntsc):
    assert numbers(read_frames(ntsc, [2.0, 1.01, 2.0])) == [59, 30, 59]
    with pytest.raises(VideoError, match="2 distinct frames where 3 are needed"):
        read_frames(ntsc, [2.0, 1.01, 2.0], distinct=True)


def test_variable_rate(tmp_path):
    stamps = [0, 10, 30, 31, 100, 101, 102, 200, 350, 351, 352, 500]  # hundredths of a second
    frames = [numbered_frame(n) for n in range(len(stamps))]
    path = write_frames(tmp_path / "a.mp4", frames, stamps, Fraction(1, 100), gop=4)
    assert probe(path).times == pytest.approx([s / 100 for s in stamps], abs=1e-9)
    assert numbers(read_frames(path, [0.0, 0.09, 0.305, 0.99, 1.015, 3.4, 3.5, 4.99, 5.0])) == [
        *(0, 0, 2, 3, 5, 7, 8, 10, 11)
    ]


@pytest.mark.parametrize("first", [0, 500])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"codec": "libx264", "options": {"bf": "3", "b-adapt": "0"}}),
        ("open-gop.mp4", {"codec": "libx264", "options": {"x264-params": "open-gop=1:bframes=3"}}),
        ("a.mkv", {"codec": "libx264", "options": {"bf": "3"}}),
        ("a.ts", {"codec": "libx264", "options": {"bf": "3"}}),
        ("a.flv", {"codec": "libx264", "options": {"bf": "3"}}),
        ("a.mpg", {"codec": "mpeg2video", "options": {"bf": "2", "q": "2"}}),
        ("a.avi", {"codec": "mpeg4", "options": {"bf": "2", "q": "2"}}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}}),
        ("vp8.webm", {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
    ],
)
def test_random_access_gives_the_frame_that_sequential_decoding_gives(
    tmp_path, name, options, first
):
    frames = [numbered_frame(n) for n in range(75)]
    stamps = range(first, first + 75)
    path = write_frames(tmp_path / name, frames, stamps, Fraction(1, 25), **options)
    info = probe(path)
    assert len(info.times) == 75
    # Milliseconds are all that Matroska and Flash store.
    assert info.times == pytest.approx([n / 25 for n in range(75)], abs=1e-3)
    assert info.fps == 25.0
    for number in (0, 1, 9, 10, 11, 24, 37, 49, 50, 51, 73, 74):
        assert numbers(read_frames(path, [number / 25])) == [number]
    assert numbers(read_frames(path, [n / 5 for n in range(15)])) == list(range(0, 75, 5))


def test_edit_list_hides_the_frames_before_the_cut(tmp_path):
    whole = write_numbered(tmp_path / "whole.mp4", 40, 25, gop=40)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                shift = round(12 / 25 / packet.time_base)  # copied from frame 12 on
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - shift,
                    packet.dts - shift,
                    stream,
                )
                target.mux(packet)
    info = probe(cut)
    assert info.times == pytest.approx([n / 25 for n in range(28)], abs=1e-9)
    assert numbers(read_frames(cut, [0.0, 0.4, 27 / 25])) == [12, 22, 39]


# x' = a x + c y, y' = b x + d y (x right, y down), stored in fixed point as [a b u c d v x y w]
QUARTER_CLOCKWISE = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
HALF = [-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30]
QUARTER_BACK = [0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize(
    ("matrix", "rotation", "corner"),
    [
        (QUARTER_CLOCKWISE, 270, (0, -1)),  # the stored top left corner is shown at the top right
        (HALF, 180, (-1, -1)),
        (QUARTER_BACK, 90, (-1, 0)),
    ],
)
def test_rotation_turns_size_and_pixels(tmp_path, matrix, rotation, corner):
    pixels = np.full((64, 96, 3), 128, np.uint8)
    pixels[:24, :24] = (255, 0, 0)
    path = write_frames(
        tmp_path / "a.mp4",
        [pixels] * 3,
        range(3),
        Fraction(1, 10),
        matrix=matrix,
        options={"crf": "1"},
    )
    info = probe(path)
    assert info.rotation == rotation
    assert (info.height, info.width) == ((64, 96) if rotation == 180 else (96, 64))
    frame = read_frames(path, [0.1])[0]
    assert frame.shape[-2:] == (info.height, info.width)
    row, column = (4 if side == 0 else -5 for side in corner)
    # libx264 at crf 1 keeps flat colour within 2 of 255 levels.
    assert frame[:, row, column].tolist() == pytest.approx([1, -1, -1], abs=0.02)
    # OpenCV turns frames by itself: an independent reading of the same matrix.
    other = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2RGB)
    assert other.shape == (info.height, info.width, 3)
    # OpenCV interpolates colour otherwise along the square's edge: compare the mean.
    assert np.abs((frame.permute(1, 2, 0).numpy() + 1) * 127.5 - other).mean() < 1.5


@pytest.mark.parametrize(
    ("colorspace", "color_range", "pix_fmt", "size"),
    [
        (1, 1, "yuv444p", (64, 64)),  # BT.709, limited range
        (1, 2, "yuv444p", (64, 64)),  # BT.709, full range
        (5, 1, "yuv444p", (64, 64)),  # BT.601
        (5, 1, "yuv420p", (64, 64)),
        (9, 1, "yuv444p10le", (64, 64)),  # BT.2020, 10 bits
    ],
)
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (20, 60, 250), (255, 255, 255)])
def test_colour_matrix_and_range_of_the_file_are_used(
    tmp_path, colorspace, color_range, pix_fmt, size, colour
):
    pixels = np.broadcast_to(np.array(colour, np.uint8), (*size, 3)).copy()
    path = write_frames(
        tmp_path / "a.mp4", [pixels], [0], Fraction(1, 10), pix_fmt=pix_fmt,
        colorspace=colorspace, color_range=color_range, options={"crf": "1"},
    )  # fmt: skip
    shown = (read_frames(path, [0.0])[0].mean((1, 2)) + 1) * 127.5
    # 8-bit YUV rounds by up to 2 levels; a wrong matrix or range moves red or green by 15 or more.
    assert shown.tolist() == pytest.approx(colour, abs=3)


@pytest.mark.parametrize("width", [98, 360, 854])
def test_quick_colours_are_for_widths_that_libswscale_fills(tmp_path, width):
    """A vector of it ends short of other widths; the columns behind would be anything."""
    frames = [picture(number, 64, width) for number in range(3)]
    path = write_frames(tmp_path / "a.mp4", frames, range(3), Fraction(1, 10))
    assert torch.equal(*(read_pixels(path, [0.0, 0.1], exact_colours=e) for e in (False, True)))


def test_frames_are_given_up_as_they_are_converted(tmp_path):
    frames = [picture(number, 64, 96) for number in range(12)]
    path = write_frames(tmp_path / "a.mp4", frames, range(12), Fraction(1, 10))
    gc.collect()
    gc.disable()  # which would find frames in cycles, sooner or later
    try:
        read_pixels(path, [n / 10 for n in range(12)])
        assert sum(isinstance(thing, VideoFrame) for thing in gc.get_objects()) <= 1
    finally:
        gc.enable()


def test_quick_colours_are_those_of_opencv_where_the_size_stays(tmp_path):
    frames = [picture(number, 64, 96) for number in range(3)]
    path = write_frames(tmp_path / "a.mp4", frames, range(3), Fraction(1, 10))
    other = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2RGB)
    quick, exact = (
        read_pixels(path, [0.0], exact_colours=exact)[0].permute(1, 2, 0).numpy().astype(float)
        for exact in (False, True)
    )
    # OpenCV converts with the same library: equal but for the vector code of other machines.
    assert np.abs(quick - other).max() <= 1
    assert 0.5 < (exact - quick).mean() < 2  # two or three products of a pixel rounded down
    sizes = [read_pixels(path, [0.0], (32, 48), exact_colours=exact) for exact in (False, True)]
    assert torch.equal(*sizes)


def test_size_resizes_the_shorter_side_and_crops_the_centre(tmp_path):
    pixels = np.zeros((120, 320, 3), np.uint8)
    pixels[:, 100:220] = 255  # the centre square, exactly what a square crop keeps
    path = write_frames(tmp_path / "a.mp4", [pixels], [0], 1, options={"crf": "1"})
    video = read_frames(path, [0.0], (60, 60))
    assert video.shape == (1, 3, 60, 60)
    assert video.dtype == torch.float32
    assert video[..., 2:-2].min() > 0.97  # two columns of resampling at the edge
    wide = read_frames(path, [0.0], (60, 160))
    assert wide.shape == (1, 3, 60, 160)
    assert wide[0, 0, 30, [0, 45, 55, 105, 115, 159]].tolist() == pytest.approx(
        [-1, -1, 1, 1, -1, -1], abs=0.03
    )
    assert read_frames(path, [0.0], (240, 240)).shape == (1, 3, 240, 240)


def test_time_outside_the_video_is_an_error(ntsc):
    with pytest.raises(VideoError, match=r"no frame at 9\.000 s, it ends at 6\.673 s"):
        read_frames(ntsc, [1.0, 9.0])
    for moment in (1e30, float("inf"), float("nan")):
        with pytest.raises(VideoError, match=r"no frame at 1000|give one or more"):
            read_frames(ntsc, [moment])
    with pytest.raises(VideoError, match="none below 0 s"):
        read_frames(ntsc, [-0.5])
    with pytest.raises(VideoError, match="give one or more"):
        read_frames(ntsc, [])


def test_one_frame_is_a_video_of_no_duration(tmp_path):
    info = probe(write_numbered(tmp_path / "a.mp4", 1, 25))
    assert (info.times, info.duration, info.fps) == ((0.0,), 0.0, 0.0)


def test_fps_is_whole_where_a_millisecond_clock_blurred_it(tmp_path):
    assert VideoInfo(tmp_path, (0.0, 0.033, 0.067, 0.1, 0.133), 8, 8, 0, "h264").fps == 30.0
    assert VideoInfo(tmp_path, (0.0, 0.4, 0.8), 8, 8, 0, "h264").fps == pytest.approx(2.5)


def test_rate_is_constant_as_far_as_the_clock_can_tell(tmp_path):
    def varies(times):
        return VideoInfo(tmp_path, tuple(times), 8, 8, 0, "h264").variable_rate

    assert not varies([0.0])
    assert not varies([n / 24 for n in range(48)])
    assert not varies([round(1000 * n / 240) / 1000 for n in range(240)])  # Matroska's clock
    assert not varies([round(600 * n / float(NTSC)) / 600 for n in range(90)])  # QuickTime's clock
    assert varies([n / 24 for n in range(48) if n != 20])  # a frame dropped
    assert varies([(n + n % 4 // 3 / 2) / 30 for n in range(40)])  # every fourth frame late


def test_a_large_clip_is_its_frames_read_one_by_one(ntsc):
    times, size = [number / 10 for number in range(12)], (1000, 1000)
    clip = read_pixels(ntsc, times, size)  # 36 MB, in pages of its own
    assert clip.is_contiguous()
    for frame, moment in zip(clip, times, strict=True):
        assert torch.equal(frame, read_pixels(ntsc, [moment], size)[0])


def test_frames_that_nobody_sees_are_not_decoded(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 100, 25, options={"bf": "3", "b-adapt": "0"}, gop=100)
    times = [1.0, 2.0, 3.0]
    with open_video(path, Deadline(path)) as video:
        decoded = [round(25 * time) for time, _ in frames_around(video, times)]
    assert {25, 50, 75} <= set(decoded)
    # Two of four frames are references and have to be; so are all of the 24 after the last time.
    assert len(decoded) < 70
    assert numbers(read_frames(path, times)) == [25, 50, 75]


@pytest.mark.parametrize("size", [(30, 40), (48, 48), (96, 128)])
def test_resizing_while_converting_gives_what_resizing_afterwards_gives(tmp_path, size):
    frames = [picture(number, 96, 128) for number in range(3)]
    path = write_frames(tmp_path / "a.mp4", frames, range(3), Fraction(1, 25), pix_fmt="yuv444p")
    times = [0.0, 0.04, 0.08]
    once, twice = read_frames(path, times, size), fit(read_frames(path, times), size)
    # Both round to bytes, the second twice: an error of 0.3 of 255 levels each is 55 dB together.
    assert 10 * torch.log10(4 / (once - twice).square().mean()) > 52


def long_video(path, count=50_000):
    """A file that takes seconds to decode, though not to make: one picture, again and again."""
    once = write_numbered(path.with_name("once.mkv"), 1, 25, codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(once)) as reader, av.open(str(path), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        (data,) = [bytes(packet) for packet in reader.demux(video=0) if packet.size]
        for number in range(count):
            packet = av.Packet(data)
            packet.pts = packet.dts = 40 * number
            packet.time_base, packet.stream = Fraction(1, 1000), stream
            writer.mux(packet)
    return path


def test_deadline_ends_what_takes_long(tmp_path):
    path = long_video(tmp_path / "a.mkv")
    start = time.monotonic()
    with pytest.raises(
        VideoError, match=r"a\.mkv: not read within 0\.2 s; remove it or allow a long"
    ):
        read_frames(path, [0.0, 1999.0], deadline=0.2)
    with pytest.raises(VideoError, match=r"not read within 0\.02 s"):
        probe(path, deadline=0.02)
    assert time.monotonic() - start < 2  # decoding takes some 5 s


def test_deadline_is_checked_between_frames_and_can_be_set_for_all_calls(ntsc, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(container, "monotonic", lambda: next(ticks))  # a second a look
    for call in (probe, lambda path: read_pixels(path, [0.0, 6.0])):
        monkeypatch.setattr(container, "DEADLINE", 1000.0)
        call(ntsc)
        monkeypatch.setattr(container, "DEADLINE", 50.0)
        with pytest.raises(VideoError, match="not read within 50 s"):
            call(ntsc)


def test_image_is_upright_and_fitted(tmp_path):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:20, :20] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 80, 40)
    assert image[:, 5, -6].tolist() == [1, -1, -1]
    assert image[:, 5, 5].tolist() == [-1, -1, -1]
    assert read_image(tmp_path / "a.png", (20, 20)).shape == (3, 20, 20)


def test_grey_palette_and_transparent_images_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "LA", "1"):
        Image.new(mode, (6, 4)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").shape == (3, 4, 6)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"])
def test_not_an_image(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.png: not an image, or damaged; give a PNG or JPEG"):
        read_image(tmp_path / "a.png")
    with pytest.raises(VideoError, match="no such file"):
        read_image(tmp_path / "b.png")
