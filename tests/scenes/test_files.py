from dataclasses import asdict

import pytest
import torch

from movideo.clips.clip import ClipSettings, read_clip
from movideo.clips.index import index_clips
from movideo.clips.key_places import KeyFramePlaces, place_key_frame
from movideo.errors import UserError
from movideo.scenes.files import SceneSettings, write_scenes
from movideo.shards.shard import write_shard
from movideo.shards.store import LabelStore

SMALL = SceneSettings(count=3, num_frames=5, size=(32, 32))


def test_files_hold_the_scenes_and_their_exact_labels(tmp_path):
    write_scenes(tmp_path, SMALL)
    clips = index_clips(tmp_path, ClipSettings(num_frames=5, size=(32, 32))).clips
    store = LabelStore(tmp_path / "labels")
    assert len(clips) == 3
    for index, clip in enumerate(clips):
        scene = SMALL.render(index)
        assert clip.fps == scene.fps
        # x264 at quality 6 of so small a picture: about 42 dB
        assert ((read_clip(clip) - scene.video) / 2).square().mean() < 10 ** (-38 / 10)
        labels = store.get(clip)
        # float16 has 11 bits: flows of up to 64 pixels are off by 1/64 at most
        assert torch.allclose(labels.flow_i2v, scene.flow_i2v, atol=1 / 64)
        assert torch.allclose(labels.flow_v2i, scene.flow_v2i, atol=1 / 64)
        assert torch.allclose(labels.aligned_depth, scene.depth, atol=1e-3)


def test_what_is_there_stays_and_sets_grow(tmp_path):
    write_scenes(tmp_path, SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    write_scenes(tmp_path, SMALL)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert before == after
    (tmp_path / "scene_000001.mp4").unlink()
    write_scenes(tmp_path, SMALL)
    assert (tmp_path / "scene_000001.mp4").is_file()


def test_labels_are_there_for_the_key_frame_that_training_draws(tmp_path):
    settings = SceneSettings(count=8, num_frames=5, size=(32, 32))
    write_scenes(tmp_path, settings)
    clips = index_clips(tmp_path, ClipSettings(num_frames=5, size=(32, 32))).clips
    store = LabelStore(tmp_path / "labels")
    placed = [place_key_frame(clip, KeyFramePlaces()) for clip in clips]
    assert len({clip.key_index for clip in placed}) > 2
    for index, clip in enumerate(placed):
        labels, scene = store.get(clip), settings.render(index)
        shifted = settings.render(index, key_index=clip.key_index, origin=2)
        # The same video, whose pixels its flows lead back to another of its frames.
        assert torch.equal(shifted.video, scene.video)
        assert not shifted.flow_i2v[clip.key_index].any()
        # float16 has 11 bits
        assert torch.allclose(labels.flow_i2v, shifted.flow_i2v, atol=1 / 64)


def test_scenes_of_earlier_versions_are_rendered_again(tmp_path):
    write_scenes(tmp_path, SMALL)
    (shard,) = (tmp_path / "labels").iterdir()
    store = LabelStore(tmp_path / "labels")
    clips = index_clips(tmp_path, ClipSettings(num_frames=5, size=(32, 32))).clips
    before = shard.read_bytes()
    write_shard(shard, clips, [store.get(clip) for clip in clips], {"scenes": asdict(SMALL)})
    write_scenes(tmp_path, SMALL)
    assert shard.read_bytes() == before


def test_what_a_killed_run_left_is_mended(tmp_path):
    write_scenes(tmp_path, SMALL)
    (shard,) = (tmp_path / "labels").iterdir()
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    leftovers = [
        tmp_path / ".scene_000002.mp4.part.mp4",
        shard.with_name(f".{shard.name}.part.safetensors"),
    ]
    for path in leftovers:
        path.write_bytes(b"half")
    write_scenes(tmp_path, SMALL)
    assert shard.read_bytes() == whole
    assert not any(path.exists() for path in leftovers)


def test_settings_name_the_folder():
    names = {
        SceneSettings(seed=seed, count=count).folder_name for seed in (0, 1) for count in (3, 4)
    }
    assert len(names) == 4
    assert SMALL.folder_name == SceneSettings(count=3, num_frames=5, size=(32, 32)).folder_name


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"seed": -1}, {"num_frames": 0}, {"size": (4, 64)}, {"readable": 1.5}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(UserError, match=rf"scenes: {next(iter(wrong))} "):
        SceneSettings(**wrong)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_scenes(tmp_path / "file", SMALL)
