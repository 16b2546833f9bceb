"""Parts described, stored and built again."""

import pytest
import torch
from diffusers import DDIMScheduler

from movideo.errors import UserError
from movideo.hub.checkpoint import FORMAT_VERSION, Checkpoint, build, describe, find_class
from movideo.motion.space import MotionSpace
from tests.stages.parts import autoencoder, image_encoder, scheduler, unet


def stored(described):
    """As a checkpoint gives it back: only what `weights_only` allows."""
    import io

    file = io.BytesIO()
    torch.save(described, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_scheduler_and_motion_space_need_no_weights():
    built = build(stored(describe(scheduler(), frozen=False)))
    assert isinstance(built, DDIMScheduler)
    assert torch.equal(built.alphas_cumprod, scheduler().alphas_cumprod)
    assert built.config.prediction_type == "v_prediction"
    space = build(stored(describe(MotionSpace((8, 12), 0.5, 0.25), frozen=False)))
    assert (space.grid, space.depth_std, space.flow_std) == ((8, 12), 0.5, 0.25)


@pytest.mark.parametrize("part", [unet(4, extra=6), autoencoder(), image_encoder()])
def test_trained_parts_come_back_with_their_weights(part):
    built = build(stored(describe(part, frozen=False)), part.state_dict())
    assert type(built) is type(part)
    for name, value in built.state_dict().items():
        assert torch.equal(value, part.state_dict()[name])
    assert getattr(built, "is_random", False) is False


@pytest.mark.parametrize(("make", "folder"), [(autoencoder, "vae"), (image_encoder, "")])
def test_frozen_parts_come_from_where_they_were(tmp_path, make, folder):
    make().save_pretrained(tmp_path / folder)
    kind = type(make())
    options = {"subfolder": folder} if folder else {}
    part = kind(str(tmp_path), **options)
    described = stored(describe(part, frozen=True))
    assert build(described).fingerprint() == part.fingerprint()
    described["fingerprint"] = "0"
    with pytest.raises(UserError, match=f"{tmp_path}: not the {kind.__name__}.*another hash"):
        build(described)


def test_random_frozen_parts_cannot_come_back():
    with pytest.raises(UserError, match="random weights"):
        build(stored(describe(autoencoder(), frozen=True)))


def test_weights_that_do_not_fit_are_named():
    weights = unet(4).state_dict()
    weights["surplus"] = weights.pop("null_token")
    with pytest.raises(UserError, match=r"SpatioTemporalUNet.*null_token.*surplus"):
        build(describe(unet(4), frozen=False), weights)


@pytest.mark.parametrize(
    "class_path",
    [
        "subprocess.Popen",
        "movideo.nothing.There",
        "movideo.hub.checkpoint.build",
        "diffusers.Nothing",
    ],
)
def test_classes_of_others_are_not_loaded(class_path):
    with pytest.raises(UserError, match=class_path):
        find_class(class_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "not a checkpoint of movideo"),
        ({"format_version": FORMAT_VERSION + 1}, f"reads {FORMAT_VERSION}"),
        ({"format_version": FORMAT_VERSION, "stage": "Other"}, "of Other, not of a Stage stage"),
    ],
)
def test_foreign_checkpoints_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=rf"a\.ckpt.*{message}"):
        Checkpoint.read(tmp_path / "a.ckpt", "Stage")


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.ckpt").write_text("no")
    torch.save(print, tmp_path / "code.ckpt")  # a pickle that would run something
    for name, message in (("text", "not a"), ("code", "not a"), ("none", "no such")):
        with pytest.raises(UserError, match=rf"{name}\.ckpt: {message} checkpoint"):
            Checkpoint.read(tmp_path / f"{name}.ckpt")


@pytest.mark.parametrize("lost", ["stage", "components", "state_dict", "ema", "global_step"])
def test_what_a_damaged_checkpoint_lacks_is_named(tmp_path, lost):
    whole = {"format_version": FORMAT_VERSION, "stage": "Stage", "global_step": 0}
    whole |= {name: {} for name in ("components", "state_dict", "ema")}
    path = tmp_path / "a.ckpt"
    torch.save(whole, path)
    assert Checkpoint.read(path).step == 0
    del whole[lost]
    torch.save(whole, path)
    with pytest.raises(UserError, match=rf"a\.ckpt: damaged, has no {lost}"):
        Checkpoint.read(path)
