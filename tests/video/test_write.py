import math
import os
import signal
import threading

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from movideo.errors import UserError
from movideo.storage.atomic import remove_leftovers, whole_file
from movideo.video import write
from movideo.video.read import probe, read_frames, read_image
from movideo.video.write import write_gif, write_image, write_mp4


def smooth_video(frames=9, height=64, width=96):
    """Slow waves of colour, in [-1, 1], that move."""
    t = torch.arange(frames).view(-1, 1, 1, 1) / 10
    y = torch.linspace(0, math.pi, height).view(1, 1, -1, 1)
    x = torch.linspace(0, math.pi, width).view(1, 1, 1, -1)
    phase = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1)
    return 0.9 * torch.sin(x + phase + t) * torch.cos(y - t)


def psnr(a, b):
    return -10 * math.log10(((a - b) / 2).square().mean().item())


@pytest.mark.parametrize("size", [(64, 96), (63, 95), (64, 95), (2, 2), (1, 3)])
@pytest.mark.parametrize("fps", [3, 24, 29.97, 30])
def test_mp4_comes_back(tmp_path, size, fps):
    video = smooth_video(9, *size)
    path = tmp_path / "new" / "folder" / "a.mp4"
    write_mp4(path, video, fps, quality=4)
    info = probe(path)
    assert (info.height, info.width) == size
    assert info.times == pytest.approx([n / fps for n in range(9)], abs=1e-6)
    assert info.fps == pytest.approx(fps, abs=1e-9 if isinstance(fps, int) else 1e-4)
    back = read_frames(path, info.times)
    if min(size) > 3:  # colour at half resolution costs more where there are hardly any pixels
        assert psnr(back, video) > 40
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]


def test_full_colour_resolution_and_default_quality(tmp_path):
    video = smooth_video()
    write_mp4(tmp_path / "a.mp4", video, 8)
    times = probe(tmp_path / "a.mp4").times
    assert psnr(read_frames(tmp_path / "a.mp4", times), video) > 38
    write_mp4(tmp_path / "a.mp4", video, 8, quality=0, pix_fmt="yuv444p")
    assert psnr(read_frames(tmp_path / "a.mp4", times), video) > 48


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("colour", [(1, -1, -1), (-1, 1, -1), (-1, -1, 1), (1, 1, 1), (-1, -1, -1)])
def test_saturated_colours_stay(tmp_path, pix_fmt, colour):
    video = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(2, 3, 32, 48)
    write_mp4(tmp_path / "a.mp4", video, 10, quality=4, pix_fmt=pix_fmt)
    # 8-bit YUV rounds by up to 2 of 255 levels; the wrong matrix would move red by 20.
    assert (read_frames(tmp_path / "a.mp4", [0.0, 0.1]) - video).abs().max() < 2.5 / 127.5
    # An independent reader that follows the file's colour tags only in part: OpenCV.
    other = cv2.cvtColor(cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[1], cv2.COLOR_BGR2RGB)
    shown = other.mean((0, 1)) / 127.5 - 1
    assert np.abs(shown - colour).max() < 3 / 127.5


def test_mp4_bytes_are_a_function_of_the_video(tmp_path):
    for name in "ab":
        write_mp4(tmp_path / name, smooth_video(), 8)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("fps", "durations"),
    [(8, [130, 120, 130, 120, 130, 120]), (3, [330, 340, 330] * 2), (25, [40] * 6)],
)
def test_gif_times_and_colours(tmp_path, fps, durations):
    video = smooth_video(6)
    write_gif(tmp_path / "a.gif", video, fps)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 6
        assert image.info["loop"] == 0
        shown = []
        for index in range(6):
            image.seek(index)
            shown.append(image.info["duration"])
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
            # 256 colours: about 4 levels off on a smooth field of this size.
            assert psnr(pixels / 127.5 - 1, video[index]) > 30
    assert sum(shown) == sum(durations)
    assert shown == durations


def test_image_formats(tmp_path):
    image = smooth_video()[3]
    write_image(tmp_path / "a.png", image)
    assert (read_image(tmp_path / "a.png") - image).abs().max() <= 0.5 / 127.5 + 1e-6  # rounding
    write_image(tmp_path / "b" / "a.JPG", image)
    assert psnr(read_image(tmp_path / "b" / "a.JPG"), image) > 35
    with pytest.raises(
        UserError, match=r"a\.bin: no picture format of that suffix; use one of \.png"
    ):
        write_image(tmp_path / "a.bin", image)


def test_values_outside_the_range_are_clamped(tmp_path):
    write_image(tmp_path / "a.png", torch.tensor([-3.0, 0.0, 3.0]).view(3, 1, 1).expand(3, 4, 4))
    assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == pytest.approx([-1, 0, 1], abs=0.004)


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_text("old")

    def fail_at_second(pixels, pix_fmt, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("power cut")
        return encode(pixels, pix_fmt)

    encode = write.encode_frame
    monkeypatch.setattr(write, "encode_frame", fail_at_second)
    with pytest.raises(RuntimeError, match="power cut"):
        write_mp4(path, smooth_video(), 8)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_text() == "old"


def write_text(path, text, wait=lambda: None):
    with whole_file(path) as temporary:
        temporary.write_text(text)
        wait()


def in_child(work):
    """Runs in a process of its own; gives the status that it ended with."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_what_a_kill_left_is_overwritten_or_removed(tmp_path):
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    for name in "ab":
        assert in_child(lambda name=name: write_text(tmp_path / name, "half", die)) == -9
    leftovers = [path.name for path in tmp_path.iterdir()]
    assert sorted(leftovers) == [".a.part", ".b.part"]
    write_text(tmp_path / "a", "whole")
    assert (tmp_path / "a").read_text() == "whole"
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_living_process_keeps_its_temporary_file(tmp_path):
    """Another one may neither remove it nor write into it; it waits and writes after."""
    statuses = []
    path = tmp_path / "a"
    with whole_file(path) as temporary:
        temporary.write_text("first")
        assert in_child(lambda: remove_leftovers(tmp_path)) == 0
        assert temporary.exists()
        other = threading.Thread(
            target=lambda: statuses.append(in_child(lambda: write_text(path, "second")))
        )
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert temporary.read_text() == "first"
    other.join(30)
    assert statuses == [0]
    assert path.read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_bad_requests_say_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    video = smooth_video(2)
    for call, message in [
        (lambda: write_mp4(tmp_path / "file" / "a.mp4", video, 8), "cannot be written"),
        (lambda: write_image(tmp_path / "file" / "a.png", video[0]), "cannot be written"),
        (lambda: write_mp4(tmp_path / "a.mp4", video, 0), "give a number above 0"),
        (lambda: write_gif(tmp_path / "a.gif", video, 200), "give a number above 0, at most 100"),
        (lambda: write_mp4(tmp_path / "a.mp4", video[:0], 8), r"give \(F, 3, H, W\)"),
        (lambda: write_gif(tmp_path / "a.gif", video[0], 8), r"give \(F, 3, H, W\)"),
        (
            lambda: write_mp4(tmp_path / "a.mp4", video[..., 1:], 8, pix_fmt="yuv420p"),
            "use yuv444p",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            call()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
