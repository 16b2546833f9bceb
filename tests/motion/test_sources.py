"""Files, videos and what `--motion` says; and scaling."""

from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from movideo.errors import UserError
from movideo.metrics.flow import flow_cosine
from movideo.motion import (
    CameraPath,
    ClipShape,
    GeneratedMotion,
    SavedMotion,
    VideoMotion,
    load_motion,
    parse_motion,
    save_motion,
    scale_motion,
)
from movideo.motion.space import Motion
from movideo.ops import visible_mask
from movideo.scenes.render import render_scene
from movideo.video.read import probe
from movideo.video.write import write_mp4
from movideo.visualization.clips import write_motion_videos
from tests.video.files import write_numbered


def unneeded():
    raise AssertionError("stage 1 is not needed here")


def exact_motion(scene):
    return Motion(scene.depth[None], scene.flow_i2v[None], scene.flow_v2i[None])


@pytest.fixture(scope="module")
def scene():
    return render_scene(3, num_frames=5, size=(32, 48), fps=4)


@pytest.fixture
def saved(scene, tmp_path):
    save_motion(tmp_path / "m.safetensors", exact_motion(scene))
    write_motion_videos(tmp_path / "m.safetensors", exact_motion(scene), fps=4)
    return tmp_path / "m.safetensors"


def test_files_give_back_what_was_saved(scene, saved):
    motion, clip = load_motion(saved, 5, (32, 48)), ClipShape(5, 2, (32, 48), 4)
    for name, value in exact_motion(scene).fields().items():
        assert torch.equal(getattr(motion, name), value)
        assert torch.equal(getattr(SavedMotion(str(saved)).motion(clip, unneeded), name), value)


def test_coloured_videos_lie_beside_the_file(saved):
    found = sorted(path.name for path in saved.parent.glob("*.mp4"))
    assert found == ["m_depth.mp4", "m_flow_i2v.mp4", "m_flow_v2i.mp4", "m_mask.mp4"]
    for name in found:
        info = probe(saved.parent / name)
        assert (len(info.times), info.height, info.width, info.fps) == (5, 32, 48, 4)


def test_files_that_do_not_fit(saved, tmp_path):
    with pytest.raises(UserError, match="match --num_frames"):
        load_motion(saved, 6, (32, 48))
    with pytest.raises(UserError, match="moves at frame 1"):
        SavedMotion(str(saved)).motion(ClipShape(5, 1, (32, 48), 4), unneeded)
    (tmp_path / "text.safetensors").write_text("no")
    for name in ("text", "none"):
        with pytest.raises(UserError, match=f"{name}.safetensors: no motion file"):
            load_motion(tmp_path / f"{name}.safetensors", 5, (32, 48))
    tensors = load_file(saved)
    tensors["depth"][0, 0, 0, 0] = torch.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    with pytest.raises(UserError, match="depth holds values that are no numbers"):
        load_motion(tmp_path / "nan.safetensors", 5, (32, 48))


def square(distance):
    """A near square that is moved right, before a background that stands still."""
    key, there = torch.zeros(2, 1, 1, 1, 24, 24).unbind(0)
    key[..., 8:16, 4:12] = there[..., 8:16, 4 + distance : 12 + distance] = 1
    right = torch.tensor([1.0, 0.0])[:, None, None] * distance
    fields = (2 * there - 1, -right * there, right * key)
    still = torch.zeros(1, 1, 2, 24, 24)
    return Motion(
        depth=torch.cat([2 * key - 1, fields[0]], dim=1),
        flow_i2v=torch.cat([still, fields[1]], dim=1),
        flow_v2i=torch.cat([still, fields[2]], dim=1),
    )


def test_scaling():
    motion, clip = square(3), ClipShape(2, 0, (24, 24), 10)
    assert scale_motion(motion, 0, 1.0) is motion
    for name, value in square(6).fields().items():
        assert torch.equal(getattr(scale_motion(motion, 0, 2.0), name), value)
        generate = partial(lambda m, motion_strength: scale_motion(m, 0, motion_strength), motion)
        doubled = GeneratedMotion().motion(clip, generate, 2.0)  # stage 1 knows how
        assert torch.equal(getattr(doubled, name), value)
    # In place, the flow would stay where the square is after the first distance.
    assert not torch.equal(2 * motion.flow_i2v, square(6).flow_i2v)
    still = scale_motion(motion, 0, 0.0)
    assert not still.flow_i2v.any()
    assert not still.flow_v2i.any()


def test_a_video_gives_the_direction_of_its_motion(tmp_path):
    """Mean cosine between what is carried over and the exact flow of the source."""
    cosines, agree = [], []
    for seed in range(4):
        source = render_scene(seed, num_frames=9, fps=5)
        path = tmp_path / f"{seed}.mp4"
        write_mp4(path, source.video, source.fps, quality=6, pix_fmt="yuv444p")
        clip = ClipShape(9, source.key_index, (64, 64), source.fps)
        motion = VideoMotion(str(path)).motion(clip, unneeded)
        assert not motion.flow_v2i[0, 4].any()
        assert not motion.flow_i2v[0, 4].any()
        cosines += [flow_cosine(motion.flow_v2i, source.flow_v2i[None])]
        cosines += [flow_cosine(motion.flow_i2v, source.flow_i2v[None])]
        mask = visible_mask(motion.flow_i2v, motion.flow_v2i)[0]
        agree.append(((mask > 0.5) == (source.visible > 0.5)).float().mean())
    assert torch.cat(cosines).mean() > 0.9  # measured 0.937
    assert torch.stack(agree).mean() > 0.93  # measured 0.967


def test_a_video_is_read_at_the_asked_rate_and_scaled(tmp_path):
    source = render_scene(2, num_frames=9, fps=8)
    path = tmp_path / "video.mp4"
    write_mp4(path, source.video, 8)
    every, second = ClipShape(9, 0, (64, 64), 8), ClipShape(5, 0, (64, 64), 4)
    full = VideoMotion(str(path)).motion(every, unneeded).flow_v2i
    half = VideoMotion(str(path)).motion(second, unneeded).flow_v2i
    assert torch.equal(half, full[:, ::2])
    double = VideoMotion(str(path)).motion(second, unneeded, 2.0).flow_v2i
    assert torch.equal(double, 2 * half)


def test_videos_that_do_not_fit(tmp_path):
    path = str(write_numbered(tmp_path / "video.mp4", 10, 10))
    for clip, says in [
        (ClipShape(17, 8, (32, 32), 10), "video.mp4: too short: 0.90 s, where 17 frames at 10 fps"),
        (ClipShape(5, 2, (32, 32), 20), "has 10 frames a second, --fps 20 asks for more"),
    ]:
        with pytest.raises(UserError, match=says):
            VideoMotion(path).motion(clip, unneeded)


def test_what_the_option_says(tmp_path):
    for name in ("m.safetensors", "v.mp4"):
        (tmp_path / name).touch()
    assert parse_motion(None) == GeneratedMotion()
    assert parse_motion("camera:dolly_in") == CameraPath("dolly_in")
    assert parse_motion("camera:roll_left:30") == CameraPath("roll_left", 30.0)
    assert isinstance(parse_motion(str(tmp_path / "m.safetensors")), SavedMotion)
    assert isinstance(parse_motion(str(tmp_path / "v.mp4")), VideoMotion)
    for named, says in [
        ("pan_left", "pan_left: no such motion; give a .safetensors file"),
        ("camera:pan_left:far", "'far' is no amount; give a number"),
        ("camera:", "no such camera path"),
    ]:
        with pytest.raises(UserError, match=says):
            parse_motion(named)
    for values in ((0, 0, 4), (5, 5, 4), (5, -1, 4), (5, 2, 0.0), (5, 2, float("nan"))):
        with pytest.raises(UserError):
            ClipShape(values[0], values[1], (8, 8), values[2])
