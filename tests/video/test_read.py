import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from movideo.video.read import VideoError, VideoInfo, probe, read_frames, read_image
from tests.video.files import numbered_frame, read_number, write_audio, write_frames, write_numbered

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


def noise_file(path):
    """A file large enough, frame by frame, to be cut through the middle of one."""
    random = np.random.default_rng(0)
    frames = list(random.integers(0, 255, (30, 64, 64, 3), np.uint8))
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = 64, 64, "yuv420p", 1
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path.read_bytes()


def cut_short(path):
    data = noise_file(path)
    path.write_bytes(data[: len(data) * 6 // 10])


def index_lost(path):
    data = noise_file(path)
    path.write_bytes(data[: struct.unpack(">I", data[:4])[0] + 40])


def end_zeroed(path):
    data = noise_file(path)
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "no such file"),
        (lambda path: path.touch(), "empty file"),
        (lambda path: path.write_text("a film about nothing\n" * 99), "not a video"),
        (
            lambda path: path.write_text("#EXTM3U\n#EXTINF:9,\nhttp://localhost/a.ts\n"),
            "not a video",
        ),
        (write_audio, "no video stream"),
        (cut_short, "damaged or cut short"),
        (index_lost, "no video stream"),
        (end_zeroed, "damaged"),
    ],
)
def test_unusable_files_get_one_clear_line(tmp_path, capfd, make, reason):
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(VideoError, match=reason) as caught:
        probe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "; " in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""  # FFmpeg's own chatter stays off the terminal


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
