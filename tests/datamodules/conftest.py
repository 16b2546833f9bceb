"""Small clips that the tests of this folder share."""

import pytest

from datamodules import VideoClipDataModule
from movideo.clips.clip import Clip
from movideo.scenes.files import SceneSettings, write_scenes

SCENES = SceneSettings(count=8, num_frames=3, size=(32, 32))
FROZEN = SceneSettings(count=2, seed=9, num_frames=3, size=(32, 32))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Real files: scenes without their labels."""
    folder = write_scenes(tmp_path_factory.mktemp("videos"), SCENES)
    for shard in (folder / "labels").iterdir():
        shard.unlink()
    return folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def unprepared(data_dir):
    """A data module of small clips that shares scenes and labels with the others here."""

    def make(**options):
        options = {"num_frames": 3, "size": (32, 32), "num_workers": 0, "batch_size": 2, **options}
        return VideoClipDataModule(
            data_dir=str(data_dir), scenes=SCENES, test_scenes=FROZEN, **options
        )

    return make


@pytest.fixture
def make(unprepared):
    """The same, ready to be read."""

    def make(**options):
        data = unprepared(**options)
        data.prepare_data()
        data.setup("fit")
        return data

    return make


def clip(video, start=0.0, **changes):
    fields = {"fps": 10.0, "num_frames": 3, "size": (32, 32), "key_index": 1, **changes}
    return Clip(f"{video}.mp4", str(video), start, **fields)
