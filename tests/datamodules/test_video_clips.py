"""Clips to batches: order, splits, labels."""

from itertools import pairwise

import pytest
import torch

from datamodules import VideoClipDataModule
from datamodules.clip_dataset import ClipDataset
from datamodules.video_clips import split_by_video
from movideo.errors import UserError
from movideo.video.clips import Clip
from movideo.video.read import VideoError
from movideo.video.scene_files import SceneSettings, write_scenes

SCENES = SceneSettings(count=8, num_frames=3, size=(32, 32))
FROZEN = SceneSettings(count=2, seed=9, num_frames=3, size=(32, 32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Real files: scenes without their labels."""
    folder = write_scenes(tmp_path_factory.mktemp("videos"), SCENES)
    for shard in (folder / "labels").iterdir():
        shard.unlink()
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def make(data_dir):
    """A data module of small clips that shares scenes and labels with the others here."""

    def make(**options):
        options = {"num_frames": 3, "size": (32, 32), "num_workers": 0, "batch_size": 2, **options}
        data = VideoClipDataModule(
            data_dir=str(data_dir), scenes=SCENES, test_scenes=FROZEN, **options
        )
        data.prepare_data()
        data.setup("fit")
        return data

    return make


def batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def names(data, epoch=0):
    return [name for batch in batches(data, epoch) for name in batch["name"]]


def clip(video, start=0.0):
    return Clip(f"{video}.mp4", str(video), start, 10.0, 3, (32, 32), 1)


def test_batches_do_not_depend_on_the_workers(make):
    alone, helped = batches(make()), batches(make(num_workers=2))
    assert len(alone) == len(helped) == 3
    for one, other in zip(alone, helped, strict=True):
        assert one["name"] == other["name"]
        for key in ("video", "fps", "key_index", "depth", "flow_i2v", "flow_v2i"):
            assert torch.equal(one[key], other[key])


def test_order_depends_on_seed_and_epoch_alone(make):
    first = names(make())
    assert names(make()) == first
    assert names(make(), epoch=1) != first
    assert sorted(names(make(), epoch=1)) != first
    data = make()
    next(iter(data.train_dataloader()))
    torch.manual_seed(5)
    assert names(data) == first


def test_scenes_have_exact_labels(make):
    data = make()
    dataset = data._datasets["train"]
    by_name = {data_clip.video: index for index, data_clip in enumerate(dataset.clips)}
    assert len(by_name) == 7
    for video, index in by_name.items():
        scene = SCENES.render(int(video[-10:-4]))
        sample = dataset[index]
        # float16 labels: 11 bits of at most 32 pixels
        assert torch.allclose(sample["flow_i2v"], scene.flow_i2v, atol=1 / 64)
        assert torch.allclose(sample["depth"], scene.depth, atol=1e-3)
        assert sample["key_index"] == 1
    assert not data.label_dir.exists()
    assert len(data._datasets["test"]) == 2


def test_real_files_get_estimated_labels_once(make, folder):
    data = make(videos=str(folder))
    made = {path: path.stat().st_mtime_ns for path in data.label_dir.iterdir()}
    assert made
    again = make(videos=str(folder))
    assert {path: path.stat().st_mtime_ns for path in again.label_dir.iterdir()} == made
    sample = again._datasets["train"][0]
    assert sample["flow_i2v"].shape == (3, 2, 32, 32)
    assert (sample["flow_i2v"][1] == 0).all()
    assert sample["flow_i2v"].abs().max() > 0
    counts = {name: len(dataset) for name, dataset in again._datasets.items()}
    assert counts == {"train": 6, "val": 1, "test": 1}


def test_without_labels(make, folder):
    data = make(videos=str(folder), with_labels=False)
    assert set(batches(data)[0]) == {"video", "fps", "key_index", "name"}
    with pytest.raises(UserError, match="with_labels"):
        data.label_statistics((8, 8))


def test_a_mapping_gives_each_source_its_share(make, folder):
    first, second = folder / "scene_000000.mp4", folder / "scene_000001.mp4"
    videos = {str(first): 1, str(second): 3}
    data = make(videos=videos, num_frames=1, with_labels=False)
    counts = [sum(c.video == str(path) for c in data.training_clips()) for path in (first, second)]
    assert counts == [1, 3]


def test_a_single_video_has_no_validation_set(make, folder):
    data = make(videos=str(folder / "scene_000000.mp4"), batch_size=1)
    assert data.val_dataloader() == []
    assert len(batches(data)) == 1
    with pytest.raises(UserError, match="no video is left for the test set"):
        data.test_dataloader()
    with pytest.raises(UserError, match="1 training clips do not fill one batch of 2"):
        make(videos=str(folder / "scene_000000.mp4")).train_dataloader()


def test_no_video_is_in_two_parts():
    clips = [clip(video, start) for video in range(40) for start in (0.0, 1.0)]
    parts = split_by_video(clips, {"val": 0.1, "test": 0.2}, seed=0)
    sizes = {name: len({c.video for c in part}) for name, part in parts.items()}
    assert sizes == {"train": 28, "val": 4, "test": 8}
    assert sum(map(len, parts.values())) == len(clips)
    renamed = [Clip(**{**vars(c), "video": f"elsewhere/{c.video}"}) for c in clips]
    again = split_by_video(renamed[::-1], {"val": 0.1, "test": 0.2}, seed=0)
    assert {c.key for c in again["val"]} == {c.key for c in parts["val"]}
    assert split_by_video(clips, {"val": 0.1, "test": 0.2}, seed=1) != parts


def test_one_more_video_moves_at_most_one_out_of_each_part():
    fractions = {"val": 0.1, "test": 0.2}
    splits = [split_by_video([clip(v) for v in range(n)], fractions, 0) for n in range(5, 60)]
    for before, after in pairwise(splits):
        for name in fractions:
            assert len(set(before[name]) - set(after[name])) <= 1
    train_to_held_out = [
        set(before["train"]) - set(after["train"]) for before, after in pairwise(splits)
    ]
    assert max(map(len, train_to_held_out)) <= 2  # one for each share that grew


def test_a_damaged_clip_is_replaced_by_the_next(monkeypatch, caplog):
    def read(wanted):
        if wanted.video == "1.mp4":
            raise VideoError("1.mp4: damaged; remove it")
        return torch.full((3, 3, 32, 32), float(wanted.content_hash))

    monkeypatch.setattr("datamodules.clip_dataset.read_clip", read)
    dataset = ClipDataset([clip(0), clip(1), clip(2)], None)
    found = [float(dataset[index]["video"].mean()) for index in (0, 1, 2, 1)]
    assert found == [0, 2, 2, 2]
    assert len(caplog.records) == 1
    with pytest.raises(VideoError, match=r"1\.mp4"):
        ClipDataset([clip(1)], None)[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"num_workers": -1},
        {"num_frames": 0},
        {"key_index": 17},
        {"fps_range": (5.0, 4.0)},
        {"clips_per_video": 0},
        {"val_fraction": 1.5},
        {"size": (0, 64)},
    ],
)
def test_numbers_out_of_range(wrong):
    with pytest.raises(UserError, match=rf"^data\.{next(iter(wrong))}: .* out of range"):
        VideoClipDataModule(**wrong)
