import pytest
import torch

from movideo.models import ImageEncoder
from movideo.motion.key_frame_motion import KeyFrameMotion
from stages import MotionRegression
from tests.stages.parts import IMAGE_ENCODER


@pytest.fixture
def stage():
    return MotionRegression(ImageEncoder(None, IMAGE_ENCODER), cells=2)


def moving(frames, key, fps, velocity, side=16):
    """A clip `(1, F, …)` in which all moves evenly, in pixels a second, on a ramp of depth."""
    seconds = (torch.arange(frames) - key) / fps
    flow = seconds[:, None] * torch.tensor(velocity)
    depth = torch.linspace(0, 3, side).expand(1, frames, 1, side, side)
    return {
        "depth": depth,
        "flow_v2i": flow[None, :, :, None, None].expand(1, frames, 2, side, side),
        "key_index": torch.tensor([key]),
        "fps": torch.tensor([float(fps)]),
    }


@pytest.mark.parametrize("key", [0, 4, 8])
def test_velocity_is_the_labels_whatever_the_key_frame(stage, key):
    """3.2 pixels of 16 a second are a fifth of the side, two of the units."""
    target = stage.target(moving(9, key, 6, (3.2, -1.6)))
    assert torch.allclose(target[0, 1], torch.tensor(2.0), atol=1e-5)
    assert torch.allclose(target[0, 2], torch.tensor(-1.0), atol=1e-5)


def test_depth_is_that_of_the_key_frame_near_is_large(stage):
    target = stage.target(moving(9, 4, 6, (1.0, 1.0)))
    assert (target[0, 0].diff(dim=1) > 0).all()
    assert target[0, 0].abs().max() <= 1


def test_what_is_read_is_on_the_grid_of_the_target(stage):
    maps = stage.predict(torch.zeros(1, 3, 16, 16))
    assert maps.shape == stage.target(moving(3, 1, 6, (0.0, 0.0))).shape


def test_its_parts_are_trained_and_exported(movideo, tmp_path):
    done = movideo(
        "fit", "--config=image_encoder.yaml", "--data.scenes.count=8", "--data.batch_size=2",
        "--data.test_scenes.count=1", "--trainer.max_steps=2", "--trainer.val_check_interval=2",
        "--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false",
        *(f"--data.{part}num_frames=3" for part in ("", "scenes.", "test_scenes.")),
    )  # fmt: skip
    assert done.code == 0, done.err
    checkpoint = "runs/image_encoder/version_0/checkpoints/last.ckpt"
    done = movideo("export", "--out=parts", f"--checkpoints=[{checkpoint}]")
    assert done.code == 0, done.err
    encoder = ImageEncoder(str(tmp_path / "parts" / "image_encoder"))
    saved = torch.load(tmp_path / checkpoint, weights_only=True)["ema"]
    for name, value in encoder.visual.state_dict().items():
        assert torch.equal(value, saved[f"image_encoder.visual.{name}"]), name
    # Stage 1 goes on with what reads motion off its tokens.
    head = KeyFrameMotion(128, pretrained=str(tmp_path / "parts" / "key_frame")).head
    assert torch.equal(head.weight, saved["key_frame.head.weight"])
