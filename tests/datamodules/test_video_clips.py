"""Clips to batches: order, splits, labels."""

from fractions import Fraction

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules import VideoClipDataModule
from datamodules.clip_dataset import ClipDataset, TrainingClips
from datamodules.sampler import Place
from datamodules.settings import LabelSettings, SplitSettings, TrainingSettings
from movideo.clips.augment import Augmentation, HorizontalFlip, RandomZoom
from movideo.clips.batch import ClipBatch, to_clip_batch
from movideo.clips.clip import read_clip, read_clip_pixels
from movideo.errors import UserError, VideoError
from movideo.motion.space import MotionSpace
from movideo.scenes.files import write_scenes
from movideo.shards.shard import ClipLabels, identity_alignment, write_shard
from movideo.shards.store import LabelStore
from tests.datamodules.conftest import SCENES, clip
from tests.video.files import write_frames
from tests.video.unusual import picture


def batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def names(data, epoch=0):
    return [name for batch in batches(data, epoch) for name in batch["name"]]


def test_batches_do_not_depend_on_the_workers(make):
    options = {"training": TrainingSettings(augmentations=[HorizontalFlip(), RandomZoom()])}
    alone, helped = batches(make(**options)), batches(make(num_workers=2, **options))
    assert len(alone) == len(helped) == 3
    for one, other in zip(alone, helped, strict=True):
        assert one["name"] == other["name"]
        for key in set(one) - {"name"}:
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


def test_samples_come_in_their_stored_types(make):
    batch = batches(make())[0]
    assert batch["video"].dtype == torch.uint8
    assert batch["depth_alignment"].dtype == torch.float32
    for key in ("depth", "flow_i2v", "flow_v2i"):
        assert batch[key].dtype == torch.float16


def test_stages_are_given_floats_and_exact_labels_of_scenes(make):
    data = make()
    dataset = data._datasets["train"]
    assert len({clip.video for clip in dataset.clips}) == len(dataset) == 7
    loader = DataLoader(dataset, batch_size=7)
    batch = data.on_after_batch_transfer(next(iter(loader)), 0)
    assert set(batch) == set(ClipBatch.__annotations__) - {"latents", "tokens", "log_scale"}
    assert len(set(batch["key_index"].tolist())) > 1
    for index, scene_clip in enumerate(dataset.clips):
        key = scene_clip.key_index
        scene = SCENES.render(int(scene_clip.video[-10:-4]), key_index=key, origin=1)
        assert torch.equal(batch["video"][index], read_clip(scene_clip))
        # float16 labels: 11 bits of at most 32 pixels
        assert torch.allclose(batch["flow_i2v"][index], scene.flow_i2v, atol=1 / 64)
        assert torch.allclose(batch["depth"][index], scene.depth, atol=1e-3)
        assert batch["key_index"][index] == key
    assert not data.label_dir.exists()
    assert len(data._datasets["test"]) == 2


def test_a_list_has_the_labels_of_the_folder_that_it_lies_in(make, tmp_path):
    folder = write_scenes(tmp_path, SCENES)
    names = sorted(path.name for path in folder.glob("*.mp4"))
    (folder / "videos.txt").write_text("\n".join(names))
    data = make(videos=str(folder / "videos.txt"))
    assert not data.label_dir.exists()
    assert len(data._datasets["train"]) + len(data._datasets["val"]) + 1 == len(names) == 8


def test_depth_is_aligned_on_the_device():
    depth = torch.tensor([1.0, 3.0]).half().view(1, 2, 1, 1, 1)
    stored = {
        "video": torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1, 1),
        "fps": torch.tensor([3.0]),
        "key_index": torch.tensor([1]),
        "name": ["a"],
        "depth": depth,
        "depth_alignment": torch.tensor([[[2.0, 0.5], [-1.0, 0.001]]]),
        "flow_i2v": depth,
        "flow_v2i": -depth,
    }
    batch = to_clip_batch(stored)
    assert batch["video"].flatten().tolist() == [-1, 1]
    # 3 * -1 + 0.001 in float32; float16 would lose the thousandth.
    assert batch["depth"].flatten().tolist() == pytest.approx([2.5, -2.999], abs=1e-6)
    assert batch["flow_v2i"].flatten().tolist() == [-1, -3]
    assert {batch[key].dtype for key in ("video", "depth", "flow_i2v")} == {torch.float32}


def test_real_files_get_estimated_labels_once(make, folder):
    data = make(videos=str(folder))
    made = {path: path.stat().st_mtime_ns for path in data.label_dir.iterdir()}
    assert made
    again = make(videos=str(folder))
    assert {path: path.stat().st_mtime_ns for path in again.label_dir.iterdir()} == made
    sample = again._datasets["train"][0]
    assert sample["flow_i2v"].shape == (3, 2, 32, 32)
    assert (sample["flow_i2v"][sample["key_index"]] == 0).all()
    assert sample["depth"].abs().max() > 0
    counts = {name: len(dataset) for name, dataset in again._datasets.items()}
    assert counts == {"train": 6, "val": 1, "test": 1}


def test_labels_of_other_grids_are_not_mixed(tmp_path):
    clips = [clip(0), clip(1, num_frames=2), clip(2)]
    for each, side in zip(clips, (4, 8, 8), strict=True):
        depth, flow = (torch.zeros(each.num_frames, size, side, side) for size in (1, 2))
        labels = ClipLabels(depth, flow, flow, identity_alignment(each.num_frames))
        write_shard(tmp_path / f"{each.video}.safetensors", [each], [labels], {})
    store = LabelStore(tmp_path)
    assert ClipDataset([clips[:2]], store).buckets.tolist() == [0, 1]  # never in one batch
    told = r"2\.mp4: its labels lie on a grid of \(8, 8\), those of other clips on \(4, 4\)"
    with pytest.raises(UserError, match=told):
        ClipDataset([clips[:2], clips[2:]], store)


def test_without_labels(make, folder):
    data = make(videos=str(folder), labels=LabelSettings(enabled=False))
    assert set(batches(data)[0]) == {"video", "fps", "key_index", "name"}
    with pytest.raises(UserError, match=r"data\.labels\.enabled"):
        data.label_statistics(MotionSpace((8, 8)))


def test_a_single_video_has_no_validation_set(make, folder):
    data = make(videos=str(folder / "scene_000000.mp4"), batch_size=1)
    assert data.val_dataloader() == []
    assert len(batches(data)) == 1
    with pytest.raises(UserError, match="no video is left for the test set"):
        data.test_dataloader()
    with pytest.raises(UserError, match="1 training clips do not fill one batch of 2"):
        make(videos=str(folder / "scene_000000.mp4")).train_dataloader()


def test_a_damaged_clip_is_replaced_by_the_next_of_its_shape(monkeypatch, caplog):
    def read(wanted, exact_colours):
        if wanted.video == "1.mp4":
            raise VideoError("1.mp4: damaged; remove it")
        return torch.full((3, 3, 32, 32), int(wanted.content_hash), dtype=torch.uint8)

    monkeypatch.setattr("datamodules.clip_dataset.read_clip_pixels", read)
    dataset = ClipDataset([[clip(0), clip(1), clip(2, num_frames=2)], [clip(3)]], None)
    found = [int(dataset[index]["video"][0, 0, 0, 0]) for index in (0, 1, 2, 3, 1)]
    assert found == [0, 3, 2, 3, 3]
    assert len(caplog.records) == 1
    with pytest.raises(VideoError, match=r"1\.mp4"):
        ClipDataset([[clip(1), clip(2, num_frames=2)]], None)[0]


def test_only_training_clips_are_read_with_quick_colours(tmp_path, make):
    for video in range(4):
        frames = [picture(3 * video + number, 32, 32) for number in range(3)]
        write_frames(tmp_path / f"{video}.mp4", frames, range(3), Fraction(1, 10))
    data = make(
        videos=str(tmp_path),
        labels=LabelSettings(enabled=False),
        training=TrainingSettings(exact_colours=False),
        split=SplitSettings(0.25, 0.25),
    )
    clips = {part: dataset.clips[0] for part, dataset in data._datasets.items()}
    for part, wanted in clips.items():
        video = data._datasets[part][0]["video"]
        assert torch.equal(video, read_clip_pixels(wanted, part != "train"))
        assert not torch.equal(video, read_clip_pixels(wanted, part == "train"))
    assert set(clips) == {"train", "val", "test"}


class Mark(Augmentation):
    """Writes a random number on the video."""

    def apply(self, sample, random):
        return {**sample, "video": torch.rand((), generator=random)}


def test_augmentations_draw_by_place(monkeypatch):
    monkeypatch.setattr("datamodules.clip_dataset.read_clip_pixels", lambda *_: torch.zeros(1))
    clips = ClipDataset([[clip(video) for video in range(3)]], None)
    places = [Place(c, e, p) for c in range(3) for e in range(20) for p in range(20)]

    def draws(seed, count=1):
        training = TrainingClips(clips, [Mark(1)] * count, seed)
        return {place: float(training[place]["video"]) for place in places}

    first = draws(0)
    assert draws(0) == first
    # 400 places, 24 bits a draw: two alike have a chance of half a percent.
    assert len(set(first.values())) == 400
    assert all(first[p] == first[Place(0, p.epoch, p.position)] for p in places)
    assert not set(draws(1).values()) & set(first.values())
    two = draws(0, count=2)
    assert not set(two.values()) & set(first.values())


def test_only_training_clips_are_augmented(make):
    plain, flipped = make(), make(training=TrainingSettings(augmentations=[HorizontalFlip(1)]))
    for one, other in zip(batches(plain), batches(flipped), strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["video"].flip(-1), other["video"])
        assert torch.equal(-one["flow_i2v"][:, :, 0].flip(-1), other["flow_i2v"][:, :, 0])
    (one,), (other,) = list(plain.val_dataloader()), list(flipped.val_dataloader())
    assert torch.equal(one["video"], other["video"])


def test_weights_mix_the_training_clips(make, folder):
    first, second = (str(folder / f"scene_00000{number}.mp4") for number in range(2))
    options = {
        "num_frames": 1,
        "labels": LabelSettings(enabled=False),
        "split": SplitSettings(0, 0),
    }
    data = make(videos={first: 9, second: 3}, weights={first: 1, second: 5}, **options)
    sources = [name[: len("scene_000000")] for name in names(data)]
    assert [sources.count(f"scene_00000{number}") for number in range(2)] == [2, 10]


def test_overfitting_takes_the_same_clips_again(make):
    data = make(num_workers=1)
    seen = []

    class Learner(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def training_step(self, batch, batch_idx):
            seen.append(tuple(batch["name"]))
            return self.weight * batch["video"].mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters())

    L.Trainer(
        accelerator="cpu", max_epochs=2, overfit_batches=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(Learner(), data)  # fmt: skip
    assert len(seen) == 4
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]


def test_other_processes_do_not_wait_for_labels(make, unprepared, folder, monkeypatch):
    """Rank 0 leaves them unmade; then every rank comes to the same end by itself."""
    make(videos=str(folder))  # on another grid
    monkeypatch.setattr("datamodules.video_clips.world_size", lambda: 2)
    options = {"videos": str(folder), "labels": LabelSettings(grid=(4, 4))}
    first, second = unprepared(**options), unprepared(**options)
    first.prepare_data()
    assert not first.label_dir.exists()
    for data in (first, second):
        told = r"8 of 8 clips have no labels \(asked for grid=\[4, 4\].*\); .*movideo precompute"
        with pytest.raises(UserError, match=told):
            data.setup("fit")
    first.precompute_all()
    first.prepare_data()
    second.setup("fit")
    assert sum(map(len, second._datasets.values())) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"num_workers": -1},
        {"num_frames": 0},
        {"key_index": 17},
        {"fps_range": (5.0, 4.0)},
        {"clips_per_video": 0},
        {"size": (0, 64)},
    ],
)
def test_numbers_out_of_range(wrong):
    with pytest.raises(UserError, match=rf"^data\.{next(iter(wrong))}: .* out of range"):
        VideoClipDataModule(**wrong)


@pytest.mark.parametrize("wrong", [{"val": 1.5}, {"test": -0.1}])
def test_shares_out_of_range(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=rf"^data\.split\.{name}: {value} is out of range; give 0"):
        SplitSettings(**wrong)
