"""What movideo 0.1.0 saved still loads, resumes and gives the same.

`tests/saved_by_0_1_0` holds a tiny model, a checkpoint of each of its stages, the frozen parts they
were trained over, and `expected.safetensors`: what that version's pipeline made of `picture()`.
"""

from pathlib import Path
from shutil import copytree

import pytest
import torch
from safetensors.torch import load_file

from movideo import MoVideoPipeline

SAVED = Path(__file__).parents[1] / "saved_by_0_1_0"
PRINTED_SPACE = "--model.motion_space=movideo.motion.space.MotionSpace"
NO_PICTURE = "movideo.motion.key_frame.KeyFrameCondition"


def picture() -> torch.Tensor:
    return torch.linspace(-1, 1, 3 * 32 * 32).view(3, 32, 32)


def check_result(model) -> None:
    """Sums over channels may be taken in another order by another CPU: hence the tolerance."""
    result = MoVideoPipeline.from_pretrained(model).generate(
        picture(),
        fps=8,
        num_frames=3,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
    )
    for name, expected in load_file(SAVED / "expected.safetensors").items():
        torch.testing.assert_close(getattr(result, name), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture
def saved(tmp_path):
    """Checkpoints name the frozen parts they were trained over as folders beside them."""
    copytree(SAVED, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_its_model_gives_the_same_video():
    check_result(SAVED / "model")


def test_its_checkpoints_export_to_the_same_model(movideo, saved):
    done = movideo(
        "export", "--out", "again", "--checkpoints=[stage1.ckpt, stage2.ckpt, stage3.ckpt]"
    )
    assert done.code == 0, done.err
    check_result(saved / "again")


@pytest.mark.parametrize("stage", range(4))
def test_its_checkpoint_goes_on(movideo, saved, stage):
    configs = [f"--config={name}.yaml" for name in ("data", f"stage{stage}")]
    more = {
        0: ["--data.num_frames=1"],
        1: [
            PRINTED_SPACE,
            "--model.noise_scheduler.shift=1",
            f"--model.key_frame={NO_PICTURE}",
            "--model.flow_scale=movideo.motion.scale.FlowScale",
            "--model.unet.takes_scale=false",
        ],
        2: [PRINTED_SPACE, "--model.unet.shortcut=[]"],
    }.get(stage, [])  # the shipped configs of that version had the paper's form
    done = movideo(
        "fit",
        f"--config={_shipped(stage)}",
        *configs,
        *more,
        f"--ckpt_path=stage{stage}.ckpt",
        "--trainer.max_steps=3",
    )
    assert done.code == 0, done.err
    (last,) = saved.glob(f"runs/stage{stage}/*/checkpoints/last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 3


def _shipped(stage: int) -> Path:
    """`stage1.yaml` beside the checkpoint is the tiny overlay."""
    return Path(__file__).parents[2] / "configs" / f"stage{stage}.yaml"
