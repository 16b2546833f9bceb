"""Stages 1 and 2 train on kept latents and tokens as on the video, up to their rounding."""

import pytest
import torch

from datamodules import VideoClipDataModule
from datamodules.settings import SplitSettings
from movideo.models import ImageEncoder, VideoAutoencoder
from movideo.scenes.files import SceneSettings
from movideo.shards.encodings import Encoders
from stages import DepthFlowDiffusion, LatentVideoDiffusion
from tests.stages.parts import TrainingLosses, motion_parts, trainer, unet, video_parts

COUNTS = ("count", "num_frames")
SCENES, TESTED = (SceneSettings(count=n, seed=n, num_frames=5) for n in (4, 1))
ENCODERS = (
    "--data.encoders=movideo.shards.encodings.Encoders",
    "--data.encoders.autoencoder=movideo.models.VideoAutoencoder",
    "--data.encoders.image_encoder=movideo.models.ImageEncoder",
)

TINY = (
    "--data.batch_size=1",
    "--data.num_frames=2",
    *(f"--data.{scenes}.{what}=2" for scenes in ("scenes", "test_scenes") for what in COUNTS),
)


def stage_of(kind):
    """Over the embedded encoders; of stage 1 the form that sees nothing of a clip but tokens."""
    encoder = ImageEncoder()
    parts = {"image_encoder": encoder, "motion_grid": (32, 32)}
    if kind is DepthFlowDiffusion:
        return kind(**motion_parts(unet=unet(5, token_dim=encoder.token_dim), **parts))
    video = video_parts(unet=unet(8, 10, token_dim=encoder.token_dim), **parts)
    return kind(**video | {"autoencoder": VideoAutoencoder()})


def first_loss(kind, folder, encoders=None):
    data = VideoClipDataModule(
        data_dir=str(folder), scenes=SCENES, test_scenes=TESTED, num_frames=5, num_workers=0,
        batch_size=3, split=SplitSettings(val=0), encoders=encoders,
    )  # fmt: skip
    losses = TrainingLosses()
    trainer(folder, 1, callbacks=[losses]).fit(stage_of(kind), data)
    return losses.values[0]


def unreadable(clip, exact_colours):
    raise AssertionError(f"{clip.video} is opened")


def zero_tokens(batch, image_encoder):
    return torch.zeros_like(batch["tokens"])


@pytest.mark.parametrize("kind", [DepthFlowDiffusion, LatentVideoDiffusion])
def test_a_step_on_encodings_is_one_on_the_video(tmp_path, monkeypatch, kind):
    plain = first_loss(kind, tmp_path)
    encoders = Encoders(VideoAutoencoder(), ImageEncoder())
    monkeypatch.setattr("datamodules.clip_dataset.read_clip_pixels", unreadable)
    kept = first_loss(kind, tmp_path, encoders)
    # Float16 errs by up to 2^-11 of a value, with either sign, and the loss is a mean over tens of
    # thousands of them: a sixteenth of that may be left.
    assert kept == pytest.approx(plain, rel=2**-15)
    monkeypatch.setattr("stages.diffusion.key_tokens", zero_tokens)
    assert first_loss(kind, tmp_path, encoders) != pytest.approx(plain, rel=2**-13)


def test_the_command_trains_on_them_and_validates_on_video(movideo, tmp_path):
    done = movideo("fit", "--config=stage2.yaml", *TINY, *ENCODERS, "--trainer.max_steps=1",
        "--trainer.val_check_interval=1", "--model.motion_grid=[16, 16]",
        "--trainer.enable_progress_bar=true",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "val/loss" in done.out + done.err
    for noun in ("latents", "tokens"):
        assert len(list((tmp_path / "data" / noun).rglob("*.safetensors"))) > 0
    config = (tmp_path / "runs/stage2/version_0/config.yaml").read_text()
    assert "class_path: movideo.shards.encodings.Encoders" in config


@pytest.mark.parametrize("stage", [0, 3])
def test_a_stage_that_needs_the_video_says_so(movideo, stage):
    error = movideo("fit", f"--config=stage{stage}.yaml", *TINY, *ENCODERS).error
    assert error == "data.encoders: given, but this stage trains on the video itself; leave it out"
