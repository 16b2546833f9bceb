"""Folders of numbered pictures read as videos are."""

import pytest
import torch

from movideo.errors import VideoError
from movideo.video.frame_folders import list_frames, probe_frames, read_frame_pixels
from movideo.video.write import write_image


@pytest.fixture
def folder(tmp_path):
    """Twelve grey frames: number i is 10 i of 255, so that 10 comes after 9 and not after 1."""
    for number in range(12):
        grey = torch.full((3, 6, 10), number * 10 / 127.5 - 1)
        write_image(tmp_path / f"{number}.png", grey)
    (tmp_path / "notes.txt").write_text("not a frame")
    return tmp_path


def test_frames_in_the_order_of_their_numbers(folder):
    assert [path.stem for path in list_frames(folder)] == [str(n) for n in range(12)]
    info = probe_frames(folder, 24.0)
    assert (info.width, info.height, info.fps, info.cut) == (10, 6, 24.0, False)
    assert info.times == tuple(index / 24 for index in range(12))


def test_the_frame_on_display_at_each_time(folder):
    pixels = read_frame_pixels(folder, 24.0, [0.0, 1 / 24, 1.9 / 24, 11 / 24, 2 / 24])
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (5, 3, 6, 10)
    assert pixels[:, 0, 0, 0].tolist() == [0, 10, 10, 110, 20]
    assert read_frame_pixels(folder, 24.0, [0.0], (4, 4)).shape == (1, 3, 4, 4)


@pytest.mark.parametrize("time", [-0.1, 12.1 / 24])
def test_no_frame_at_that_time(folder, time):
    with pytest.raises(VideoError, match="12 frames at 24 fps, none at one of the times"):
        read_frame_pixels(folder, 24.0, [0.0, time])


def test_gaps_and_other_pictures_are_told(folder):
    (folder / "5.png").rename(folder / "12.png")
    with pytest.raises(VideoError, match="frame 5 is missing"):
        list_frames(folder)
    (folder / "12.png").rename(folder / "cover.png")
    with pytest.raises(VideoError, match="no frames; put pictures called 00000"):
        list_frames(folder)
    with pytest.raises(VideoError, match="no such folder"):
        list_frames(folder / "none")
