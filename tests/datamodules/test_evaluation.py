"""What the evaluation data sets share: which frames, which process, what is left out, what is said.

Frames show numbers, so that what was read tells itself. Expected ones are counted by hand.
"""

from itertools import chain
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from benchmarks.davis_layout import write_davis
from datamodules import DAVIS, PromptList
from movideo.errors import UserError
from movideo.video.read import read_image
from tests.datamodules.layouts import BASE, SIDE, numbered_frames
from tests.video.files import read_number

LENGTHS = {"bear": 9, "camel": 6, "dog": 4, "goat": 3, "kite-surf": 8}


@pytest.fixture(scope="module")
def davis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "DAVIS"
    frames = {n: numbered_frames(i, length) for i, (n, length) in enumerate(LENGTHS.items())}
    return write_davis(folder, frames)


def make(folder, **options):
    data = DAVIS(str(folder), **{"num_frames": 4, "size": (32, 32), "batch_size": 2, **options})
    data.setup("test")
    return data


def batches(data, rank=0, processes=1):
    """The batches of one process, as Lightning hands them over."""
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=processes, strategy=device)
    return [data.on_after_batch_transfer(batch, 0) for batch in data.test_dataloader()]


def numbers(batch):
    """What the frames of each clip show."""
    return [[read_number(frame) for frame in clip] for clip in batch["video"]]


def test_consecutive_frames_from_the_middle_at_the_videos_own_rate(davis):
    data = make(davis)
    first, second = batches(data)
    assert first["name"] == first["reference"] == ["bear", "camel"]
    # 9 frames leave 5, 2 before and 3 after; 6 leave 2; 8 leave 4.
    assert numbers(first) == [[2, 3, 4, 5], [101, 102, 103, 104]]
    assert second["name"] == ["dog", "kite-surf"]
    assert numbers(second) == [[200, 201, 202, 203], [402, 403, 404, 405]]
    assert first["fps"].tolist() == [24, 24]
    assert first["key_index"].tolist() == [2, 2]
    assert (first["num_frames"], first["size"]) == (4, (32, 32))
    assert "prompt" not in first
    assert first["video"].shape == (2, 4, 3, 32, 32)
    assert first["video"].dtype == first["fps"].dtype == torch.float32
    pictures = [davis / f"JPEGImages/480p/bear/0000{number}.jpg" for number in (2, 3, 4, 5)]
    assert torch.equal(first["video"][0], torch.stack([read_image(p, (32, 32)) for p in pictures]))


def test_frames_at_a_rate_asked_for(davis):
    data = make(davis, fps=12.0, num_frames=3, key_index=0)
    # Every other frame: starts 0 to 4 of bear, 0 and 1 of camel, 0 to 3 of kite-surf.
    assert numbers(batches(data)[0]) == [[2, 4, 6], [100, 102, 104]]
    assert [s.name for s in data.samples()] == ["bear", "camel", "kite-surf"]
    assert [numbers(b) for b in batches(data)[1:]] == [[[401, 403, 405]]]
    assert batches(data)[0]["fps"].tolist() == [12, 12]
    assert batches(data)[0]["key_index"].tolist() == [0, 0]
    assert data.protocol()["stride"] == "2"


def test_videos_too_short_are_left_out_named_and_counted(davis, caplog):
    protocol = make(davis, num_frames=5).protocol()
    assert (protocol["samples"], protocol["true clips"]) == (3, 3)
    assert protocol["left out, too short"] == 2
    assert "left out 2 of 5 videos" in caplog.text
    assert "dog: 4 frames at 24 fps do not give 5 distinct ones" in caplog.text


def test_a_rate_above_the_videos_own_would_repeat_frames(davis):
    says = r"none of 5 videos can be used, bear: 9 frames at 24 fps do not give 4 distinct ones at"
    with pytest.raises(UserError, match=says):
        make(davis, fps=30)


def test_damaged_videos_are_left_out_named_and_counted(tmp_path, caplog):
    write_davis(tmp_path, {"a": numbered_frames(0, 4), "b": numbered_frames(1, 4)})
    (tmp_path / "JPEGImages/480p/a/00002.jpg").unlink()
    protocol = make(tmp_path).protocol()
    assert (protocol["left out, damaged"], protocol["damaged"]) == (1, "a")
    assert (protocol["left out, too short"], protocol["samples"]) == (0, 1)
    assert "a: frame 2 is missing; unpack it again" in caplog.text


def test_a_listed_video_that_is_missing_ends_the_run(tmp_path):
    write_davis(tmp_path, {"a": numbered_frames(0, 4)})
    (tmp_path / "ImageSets/2017/val.txt").write_text("a\nb\nc\n")
    for start in (DAVIS.prepare_data, lambda data: data.setup("test")):
        with pytest.raises(UserError, match=r"480p/b: listed and missing \(2 of 3 are\); DAVIS"):
            start(DAVIS(str(tmp_path)))


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_processes_share_whole_batches_and_take_each_sample_once(tmp_path, processes):
    path = tmp_path / "p.txt"
    path.write_text("".join(f"prompt {index}\n" for index in range(7)))
    data = PromptList(str(path), batch_size=2)
    whole = [batch["prompt"] for batch in batches(data)]
    assert [len(prompts) for prompts in whole] == [2, 2, 2, 1]
    shares = [[b["prompt"] for b in batches(data, r, processes)] for r in range(processes)]
    assert shares == [whole[rank::processes] for rank in range(processes)]
    assert sorted(chain(*chain(*shares))) == [f"prompt {index}" for index in range(7)]


def test_workers_do_not_change_batches(davis):
    alone, helped = batches(make(davis)), batches(make(davis, num_workers=2))
    assert len(alone) == len(helped) == 2
    for one, other in zip(alone, helped, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            same = torch.equal if isinstance(value, torch.Tensor) else type(value).__eq__
            assert same(value, other[key]), key


def test_a_limit_is_spread_over_the_list(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("".join(f"prompt {index}\n" for index in range(10)))
    data = PromptList(str(path), limit=4)
    assert [s.prompt for s in data.samples()] == [f"prompt {index}" for index in (0, 2, 5, 7)]
    assert data.protocol()["samples"] == 4
    assert len(PromptList(str(path), limit=20).samples()) == 10


def test_the_protocol_tells_samples_apart_but_not_where_they_lie(davis, tmp_path):
    protocol = make(davis).protocol()
    assert protocol == {
        "data set": "DAVIS 2017", "split": "val", "prompts": "none", "samples": 4,
        "sample list": protocol["sample list"], "frames": 4, "size": "32x32", "key frame": 2,
        "fps": "24 (the videos' own)", "stride": "1",
        "resized": "shorter side, centre crop", "starts": "in the middle of the video",
        "true clips": 4, "left out, too short": 1, "left out, damaged": 0, "damaged": "none",
    }  # fmt: skip
    frames = {n: numbered_frames(i, length) for i, (n, length) in enumerate(LENGTHS.items())}
    assert make(write_davis(tmp_path / "elsewhere", frames)).protocol() == protocol
    frames = {n: numbered_frames(i, length) for i, (n, length) in enumerate(LENGTHS.items())}
    frames["bear"] = numbered_frames(0, 11)  # its clip lies elsewhere now
    other = make(write_davis(tmp_path / "longer", frames)).protocol()
    assert {key for key in protocol if protocol[key] != other[key]} == {"sample list"}


def test_lightning_gives_each_sample_once_and_only_to_test(davis):
    class Seen(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.names = []

        def test_step(self, batch, batch_idx):
            assert batch["video"].dtype == torch.float32
            self.names += batch["name"]

        validation_step = training_step = predict_step = test_step

        def configure_optimizers(self):
            return None

    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", enable_checkpointing=False, max_epochs=1, **options)
    data = DAVIS(str(davis), num_frames=4, size=(32, 32), batch_size=3)
    seen = Seen()
    trainer.test(seen, data, verbose=False)
    assert seen.names == ["bear", "camel", "dog", "kite-surf"]
    for use in (trainer.fit, trainer.validate, trainer.predict):
        with pytest.raises(UserError, match=r"^datamodules\.DAVIS: only to test on"):
            use(Seen(), datamodule=data)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_frames": 0}, "data.num_frames: 0 is out of range"),
        ({"fps": 0}, "data.fps: 0 is out of range"),
        ({"size": (0, 8)}, r"data.size: \(0, 8\) is out of range"),
        ({"key_index": 4}, "data.key_index: 4 is out of range"),
        ({"limit": 0}, "data.limit: 0 is out of range"),
        ({"batch_size": 0}, "data.batch_size: 0 is out of range"),
    ],
)
def test_settings_out_of_range(davis, options, says):
    with pytest.raises(UserError, match=says):
        make(davis, **options)


def test_numbers_of_videos_do_not_overlap():
    assert max(LENGTHS.values()) < BASE
    assert BASE * len(LENGTHS) < 2**16
    assert SIDE % 8 == 0
