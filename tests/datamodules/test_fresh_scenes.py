import pytest
import torch

from datamodules import VideoClipDataModule
from datamodules.settings import SplitSettings, TrainingSettings
from movideo.clips.batch import to_clip_batch
from movideo.clips.key_places import KeyFramePlaces
from movideo.errors import UserError
from movideo.scenes.files import SceneSettings

SCENES = SceneSettings(count=6, seed=4, num_frames=3, size=(32, 32))


def data(folder, **options):
    options = {"num_frames": 3, "size": (32, 32), "split": SplitSettings(val=0)} | options
    made = VideoClipDataModule(
        data_dir=str(folder),
        scenes=SCENES,
        test_scenes=SceneSettings(count=1, seed=9, num_frames=3, size=(32, 32)),
        training=TrainingSettings(fresh_scenes=True, key_frames=KeyFramePlaces(center=1, first=0)),
        batch_size=2,
        **options,
    )
    made.prepare_data()
    made.setup("fit")
    return made


def batches(made, epoch):
    loader = made.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes")


def test_every_place_has_a_scene_of_its_own(folder):
    made = data(folder, num_workers=0)
    names = [name for epoch in range(3) for batch in batches(made, epoch) for name in batch["name"]]
    assert len(names) == 18
    # The files hold scenes 0 to 5; epoch e, position p is scene 6 + 6 e + p.
    assert sorted(int(name.split("/")[1]) for name in names) == list(range(6, 24))


def test_a_sample_is_the_scene_of_its_index(folder):
    batch = batches(data(folder, num_workers=0), epoch=2)[1]
    scene = SCENES.render(6 + 2 * 6 + 2)  # the second batch begins at position 2
    clips = to_clip_batch(batch)
    assert torch.allclose(clips["video"][0], scene.video, atol=1 / 127)
    for name in ("depth", "flow_i2v", "flow_v2i"):
        # float16 keeps eleven bits
        assert torch.allclose(clips[name][0], getattr(scene, name), rtol=2**-10, atol=1e-3)
    assert float(clips["fps"][0]) == scene.fps


def test_workers_change_nothing(folder):
    alone, helped = (batches(data(folder, num_workers=n), epoch=1) for n in (0, 2))
    for one, other in zip(alone, helped, strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["video"], other["video"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"videos": "clips"}, "videos are given"),
        ({"num_frames": 2}, r"not of the scenes' shape \(3, 32, 32\)"),
        ({"key_index": 0}, "key_index is given"),
    ],
)
def test_what_does_not_go_with_it(tmp_path, options, reason):
    with pytest.raises(UserError, match=f"fresh_scenes: true, but .*{reason}"):
        data(tmp_path, **options)
