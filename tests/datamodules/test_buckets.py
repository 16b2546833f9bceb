"""Which shape a clip gets."""

from collections import Counter

import pytest
import torch

from datamodules import VideoClipDataModule
from datamodules.buckets import shape_clips
from datamodules.settings import LabelSettings, SplitSettings, TrainingSettings
from movideo.clips.clip import ClipSettings
from movideo.errors import UserError
from movideo.video.write import write_mp4
from tests.datamodules.conftest import clip

SETTINGS = ClipSettings(num_frames=5, size=(32, 32))
WIDE, TALL, SHORT = (5, 24, 48), (5, 48, 24), (3, 32, 32)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Files of several aspects, width over height."""
    folder = tmp_path_factory.mktemp("aspects")
    for width, height in ((64, 64), (80, 64), (90, 64), (92, 64), (128, 64), (64, 128)):
        random = torch.Generator().manual_seed(width + 1000 * height)
        # Unlike one another: videos of equal content count once.
        video = torch.rand(8, 3, height, width, generator=random) * 2 - 1
        write_mp4(folder / f"{width}x{height}.mp4", video, fps=10)
    return folder


def test_the_nearest_aspect_by_ratio(videos):
    expected = {
        "64x64": (5, 32, 32),
        "80x64": (5, 32, 32),
        "90x64": (5, 32, 32),  # 1.406: the middle of 1 and 2 is their geometric mean, 1.414
        "92x64": WIDE,  # 1.438
        "128x64": WIDE,
        "64x128": TALL,
    }
    clips = [clip(videos / name, num_frames=5, start=0.1) for name in expected]
    for name, shaped in zip(expected, shape_clips(clips, SETTINGS, [WIDE, TALL]), strict=True):
        assert (shaped.num_frames, *shaped.size) == expected[name]
        assert (shaped.start, shaped.fps, shaped.content_hash) == (0.1, 10, str(videos / name))


def test_equal_aspects_are_shared_out(videos):
    clips = [clip(videos / "64x64", start=index / 1000, num_frames=5) for index in range(400)]
    shaped = shape_clips(clips, SETTINGS, [SHORT])
    # Half of 400 each, give or take four standard deviations of 10.
    counts = Counter((c.num_frames, c.key_index) for c in shaped)
    assert set(counts) == {(5, 2), (3, 1)}
    assert 160 <= counts[5, 2] <= 240
    assert shape_clips(clips[::-1], SETTINGS, [SHORT]) == shaped[::-1]


def test_a_video_that_cannot_be_read_keeps_the_default(tmp_path):
    broken = [clip(tmp_path / "missing", num_frames=5)]
    assert shape_clips(broken, SETTINGS, [WIDE]) == [
        clip(tmp_path / "missing", num_frames=5, key_index=2)
    ]


@pytest.fixture
def make_data(videos, tmp_path):
    def make(**fractions):
        data = VideoClipDataModule(
            videos=str(videos),
            data_dir=str(tmp_path),
            num_frames=5,
            size=(32, 32),
            clips_per_video=4,
            training=TrainingSettings(buckets=[WIDE, TALL, SHORT]),
            batch_size=2,
            num_workers=0,
            labels=LabelSettings(enabled=False),
            **fractions,
        )
        data.prepare_data()
        data.setup("fit")
        return data

    return make


def test_batches_hold_one_shape(make_data):
    data = make_data(split=SplitSettings(0, 0))
    shapes = Counter(tuple(batch["video"].shape) for batch in data.train_dataloader())
    assert set(shapes) == {(2, f, 3, h, w) for f, h, w in ((5, 32, 32), WIDE, TALL, SHORT)}
    assert shapes[2, 5, 3, 24, 48] == 4  # four clips of each of the two wide videos


def test_what_is_measured_has_the_default_shape(make_data):
    data = make_data(split=SplitSettings(0.5, 0.5))
    batches = [*data.val_dataloader(), *data.test_dataloader()]
    videos = {name.split("_")[0] for batch in batches for name in batch["name"]}
    assert videos & {"92x64", "128x64", "64x128"}  # would be of another shape in training
    assert {batch["video"].shape[1:] for batch in batches} == {(5, 3, 32, 32)}


@pytest.mark.parametrize("shape", [(6, 32, 32), (0, 32, 32), (5, 0, 32), (2, 32, 32)])
def test_buckets_must_hold_clips(shape):
    given = ", ".join(map(str, shape))
    message = rf"data\.training\.buckets: \[{given}\]; give \[num_frames, height, width\]"
    with pytest.raises(UserError, match=message):
        VideoClipDataModule(num_frames=5, key_index=2, training=TrainingSettings(buckets=[shape]))
