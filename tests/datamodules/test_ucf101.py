"""UCF-101 from the layout of its owners: shares of classes, sentences, which clip stands beside."""

from collections import Counter

import pytest

from datamodules import UCF101
from datamodules.ucf101 import WORDS, words
from movideo.errors import UserError
from tests.datamodules.layouts import write_ucf101
from tests.video.files import read_number

# As published: enough of the 101 names to meet every rule.
CLASSES = {
    "ApplyEyeMakeup": "applying eye makeup",
    "Archery": "archery",
    "BenchPress": "bench press",
    "CleanAndJerk": "clean and jerk",
    "HandstandPushups": "handstand push-ups",
    "PlayingCello": "playing the cello",
    "PlayingDhol": "playing the dhol drum",
    "TableTennisShot": "table tennis shot",
    "TaiChi": "tai chi",
    "YoYo": "playing with a yo-yo",
}


@pytest.fixture(scope="module")
def ucf101(tmp_path_factory):
    """4, 2 and 2 clips in classes, of which one clip and one whole class are too short."""
    folder = tmp_path_factory.mktemp("ucf101")
    classes = {"Archery": [30, 30, 12, 30], "YoYo": [20, 21], "TaiChi": [12, 12]}
    return write_ucf101(folder, classes)


def make(folder, **options):
    options = {"num_frames": 3, "fps": 5.0, "size": (32, 32), "limit": 12, **options}
    return UCF101(str(folder), **options)


def test_frames_at_the_rate_asked_for_from_avi(ucf101):
    data = make(ucf101, fps=5.0)
    data.setup("test")
    read = {}
    for batch in data.test_dataloader():
        for name, clip, fps in zip(batch["reference"], batch["video"], batch["fps"], strict=True):
            read[name] = [read_number(frame.float() - 127.5) for frame in clip]
            assert fps == 5
    # Every 5th frame, 10 apart at most: of 30 frames 20 can be first, the middle one is the 10th.
    assert read == {
        "v_Archery_g01_c01": [9, 14, 19],
        "v_Archery_g01_c02": [109, 114, 119],
        "v_Archery_g01_c03": [200, 205, 210],
        "v_Archery_g01_c04": [309, 314, 319],
        "v_YoYo_g01_c01": [404, 409, 414],
        "v_YoYo_g01_c02": [505, 510, 515],
        "v_TaiChi_g01_c01": [600, 605, 610],
        "v_TaiChi_g01_c02": [700, 705, 710],
    }


def test_samples_follow_the_listed_classes_and_clips_go_round(ucf101):
    data = make(ucf101, fps=4.0, limit=13)  # 12 frames are too few now
    samples = data.samples()
    # Classes count as listed, 4 to 2; TaiChi has no clip left. 13 * 4 / 6 = 8.7, 13 * 2 / 6 = 4.3.
    assert Counter(s.name.split("/")[0] for s in samples) == {"Archery": 9, "YoYo": 4}
    assert [s.clip.name[-3:] for s in samples] == ["c01", "c02", "c04"] * 3 + ["c01", "c02"] * 2
    assert len({s.name for s in samples}) == 13
    prompts = {s.name.split("/")[0]: s.prompt for s in samples}
    assert prompts == {"Archery": "a video of archery", "YoYo": "a video of playing with a yo-yo"}
    protocol = data.protocol()
    assert protocol["split"] == "trainlist01"
    assert protocol["classes left out"] == "TaiChi"
    assert (protocol["true clips"], protocol["left out, too short"]) == (5, 3)
    assert (protocol["fps"], protocol["stride"]) == ("4", "6.25")
    assert protocol["prompts"] == "a video of <class in words>"


def test_fewer_samples_than_clips_take_evenly_spaced_ones(ucf101):
    names = [s.clip.name for s in make(ucf101, limit=4).samples()]
    assert names == ["v_Archery_g01_c01", "v_Archery_g01_c03", "v_YoYo_g01_c01", "v_TaiChi_g01_c01"]


def test_official_lists_of_each_fold(tmp_path):
    write_ucf101(tmp_path, {"Archery": [12], "Punch": [12]}, split="train", fold=2)
    write_ucf101(tmp_path, {"Punch": [12]}, split="test", fold=2)
    options = {"fps": None, "fold": 2, "template": "people at {}", "limit": 2}
    data = make(tmp_path, split="test", **options)
    assert [s.prompt for s in data.samples()] == ["people at a boxing match with punches"] * 2
    assert data.protocol()["split"] == "testlist02"
    assert data.protocol()["fps"] == "25 (the videos' own)"
    assert [s.name for s in make(tmp_path, **options).samples()] == ["Archery/0000", "Punch/0000"]


def test_mistakes_are_named(ucf101, tmp_path):
    with pytest.raises(UserError, match=r"testlist03\.txt: cannot be read .* UCF-101/<Class>"):
        make(ucf101, split="test", fold=3).samples()
    with pytest.raises(UserError, match=r"data\.template: a video; give a sentence with \{\}"):
        make(ucf101, template="a video")
    write_ucf101(tmp_path, {"Archery": [12]})
    listing = tmp_path / "ucfTrainTestlist/trainlist01.txt"
    listing.write_text("Archery/v_Archery_g01_c01.avi 1\n../v_x.avi 2\n")
    with pytest.raises(UserError, match=r"trainlist01\.txt: \.\./v_x\.avi 2 is no <Class>/<video>"):
        make(tmp_path).samples()


def test_classes_in_words():
    assert {name: words(name) for name in CLASSES} == CLASSES
    assert all(text == text.lower() for text in WORDS.values())
