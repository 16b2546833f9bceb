"""MSR-VTT from the lists of its owners: captions of the test split, clips they share."""

import json

import pytest

from datamodules import MSRVTT
from movideo.errors import UserError
from tests.datamodules.layouts import write_msrvtt
from tests.video.files import read_number

# Not in the order of their numbers, and 10 sorts before 9 as text.
CAPTIONS = {"video7010": ["a dog", "a dog runs"], "video7009": ["a cat "], "video9": ["x", "y"]}
NAMES = ["video9/10", "video9/11", "video7009/9", "video7010/7", "video7010/8"]


def make(folder, **options):
    return MSRVTT(str(folder), **{"num_frames": 3, "fps": 5.0, "size": (32, 32), **options})


def test_every_test_caption_with_its_videos_clip(tmp_path):
    data = make(write_msrvtt(tmp_path, CAPTIONS), batch_size=5)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert batch["name"] == NAMES
    assert batch["prompt"] == ["x", "y", "a cat", "a dog", "a dog runs"]
    assert batch["reference"] == ["video9"] * 2 + ["video7009"] + ["video7010"] * 2
    # Every other of 40 frames: 36 can be first, the middle one is the 18th.
    shown = [[read_number(frame.float() - 127.5) for frame in clip] for clip in batch["video"]]
    assert shown == [[217, 219, 221]] * 2 + [[117, 119, 121]] + [[17, 19, 21]] * 2
    protocol = data.protocol()
    assert (protocol["samples"], protocol["true clips"], protocol["split"]) == (5, 3, "test")


def test_the_single_list_of_all_splits(tmp_path):
    name = "MSRVTT_data.json"
    splits = {"video0": "train", "video6513": "validate"}
    write_msrvtt(tmp_path, CAPTIONS, name, "videos/all", **splits)
    assert [sample.name for sample in make(tmp_path).samples()] == NAMES
    assert [sample.name for sample in make(tmp_path, limit=2).samples()] == [NAMES[0], NAMES[2]]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match=r"test_videodatainfo\.json: cannot be read .* TestVideo/"):
        make(tmp_path).samples()
    write_msrvtt(tmp_path, CAPTIONS)
    (tmp_path / "TestVideo/video9.mp4").unlink()
    with pytest.raises(UserError, match=r"video9\.mp4: listed and missing \(1 of 3 are\)"):
        make(tmp_path).samples()
    listing = tmp_path / "test_videodatainfo.json"
    for wrong in ("[", "[]", '{"videos": []}', json.dumps({"videos": [{"video_id": "../x"}]})):
        listing.write_text(wrong)
        with pytest.raises(UserError, match=r"videodatainfo\.json: no list of MSR-VTT"):
            make(tmp_path).samples()


def test_a_video_that_is_none_is_left_out_with_its_captions(tmp_path):
    write_msrvtt(tmp_path, CAPTIONS)
    (tmp_path / "TestVideo/video9.mp4").write_text("words")
    data = make(tmp_path)
    assert [sample.name for sample in data.samples()] == NAMES[2:]
    assert (data.protocol()["left out, damaged"], data.protocol()["damaged"]) == (1, "video9")
