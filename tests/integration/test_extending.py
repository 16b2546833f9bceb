"""A package of a researcher's own goes all the way by command: the files of `docs/extending`.

It is trained, killed, gone on with, exported, generated with and measured in a table, without an
edit of ours; and nothing of it is imported because a file says so.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from shutil import copytree, make_archive, rmtree

import pytest
import torch
import yaml
from PIL import Image

from movideo import MoVideoPipeline
from movideo.cli import main
from movideo.errors import UserError
from movideo.hub.trust import trusting
from movideo.scenes.files import SceneSettings, write_scenes

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "extending"
MINE = "user_ext"
DATA = {
    "class_path": f"{MINE}.dataset.ArchivedClips",
    "init_args": {
        "archive": "clips.zip",
        "num_frames": 5,
        "size": [32, 32],
        "batch_size": 2,
        "labels": {
            "depth_estimator": {
                "class_path": f"{MINE}.estimator.BrightnessDepth",
                "init_args": {"gamma": 2.0},
            }
        },
    },
}
SPACE = {
    "motion_grid": [16, 16],
    "motion_space": {
        "class_path": f"{MINE}.motion_space.RootMotionSpace",
        "init_args": {"power": 0.7},
    },
}


def backbone(in_channels: int, out_channels: int) -> dict:
    options = {"in_channels": in_channels, "out_channels": out_channels, "width": 16}
    return {"class_path": f"{MINE}.backbone.DiT", "init_args": options}


MODELS = {
    1: {
        "class_path": f"{MINE}.stage.FlowOnlyDiffusion",
        "init_args": {"unet": backbone(13, 5), "num_inference_steps": 2, **SPACE},
    },
    2: {
        "init_args": {
            "unet": backbone(18, 8),
            "num_inference_steps": 2,
            "condition_transform": f"{MINE}.condition_transform.NoDepth",
            **SPACE,
        },
    },
    3: {
        "init_args": {
            "motion_grid": [16, 16],
            "losses": {"flicker": {"class_path": f"{MINE}.loss.TemporalDifferenceLoss"}},
            "metrics": [f"{MINE}.metric.Flicker"],
        }
    },
}
CHECKPOINTS = {stage: f"runs/stage{stage}/version_0/checkpoints/last.ckpt" for stage in MODELS}
KEY = ("--image=key.png", "--size=[32,32]", "--num_frames=5", "--steps=2", "--fps=8")


def write_configs(folder: Path) -> None:
    for stage, model in MODELS.items():
        trainer = {
            "max_steps": 3,
            "val_check_interval": 3,
            "enable_progress_bar": False,
            "callbacks": [
                {
                    "class_path": "stages.checkpoints.StepCheckpoint",
                    "init_args": {"save_last": True, "every_n_train_steps": 1},
                }
            ],
        }
        config = {"model": model, "data": DATA, "trainer": trainer}
        (folder / f"mine{stage}.yaml").write_text(yaml.safe_dump(config))
    kill = {"class_path": "tests.ending.KillAt", "init_args": {"step": 2}}
    (folder / "kill.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": [kill]}}))


def configs(stage: int) -> tuple[str, ...]:
    return f"--config=stage{stage}.yaml", f"--config=mine{stage}.yaml"


def run(*arguments: str) -> None:
    main(arguments)


def in_a_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "movideo", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trained by command: stage 1 killed in its second step and gone on with, then 2 and 3."""
    folder = tmp_path_factory.mktemp("researcher")
    copytree(RECIPES, folder / MINE)
    write_configs(folder)
    videos = write_scenes(folder / "videos", SceneSettings(count=8, num_frames=9, size=(32, 32)))
    rmtree(videos / "labels")  # others are to be estimated
    make_archive(str(folder / "clips"), "zip", videos)
    Image.effect_noise((40, 32), 50).convert("RGB").save(folder / "key.png")
    killed = in_a_process(folder, "fit", *configs(1), "--config=kill.yaml")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(sys, "argv", ["movideo"])
        for stage in MODELS:
            run("fit", *configs(stage), "--ckpt_path=auto")
        checkpoints = ", ".join(CHECKPOINTS.values())
        run("export", "--out=model", f"--checkpoints=[{checkpoints}]", f"--trust={MINE}")
        yield folder
    forget()


def forget() -> None:
    """Takes the package out of this process, as if it had never been imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == MINE]:
        del sys.modules[name]


@pytest.fixture
def pipeline(folder):
    return MoVideoPipeline.from_pretrained(folder / "model", trust=[MINE])


def video(pipeline) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    image = torch.linspace(-1, 1, 3 * 32 * 32).view(3, 32, 32)
    options = {"num_frames": 5, "num_inference_steps": 2}
    return pipeline.generate(image, generator=generator, **options).video


def test_the_killed_run_went_on(folder):
    content = torch.load(folder / CHECKPOINTS[1], weights_only=True)
    assert content["global_step"] == 3
    assert content["stage"] == "FlowOnlyDiffusion"
    assert content["role"] == "motion"
    assert content["components"]["unet"]["class_path"] == f"{MINE}.backbone.DiT"
    assert content["components"]["motion_space"]["config"]["power"] == 0.7


def test_the_model_names_the_parts_and_gives_what_the_checkpoints_give(folder, pipeline):
    index = json.loads((folder / "model" / "model_index.json").read_text())
    assert index["video_unet"] == [f"{MINE}.backbone", "DiT"]
    assert index["condition_transform"] == [f"{MINE}.condition_transform", "NoDepth"]
    assert pipeline.motion_space.power == 0.7
    checkpoints = [folder / path for path in CHECKPOINTS.values()]
    with trusting([MINE]):
        before = MoVideoPipeline.from_checkpoints(checkpoints)
    assert torch.equal(video(pipeline), video(before))


@pytest.mark.parametrize("stage", MODELS)
def test_a_stages_own_test_says_the_same_before_and_after_export(folder, stage):
    found = []
    for name, start in (
        ("before", f"--ckpt_path={CHECKPOINTS[stage]}"),
        ("after", "--model.init_from=model"),
    ):
        log = f"--trainer.logger.init_args.name={name}{stage}"
        run("test", *configs(stage), start, log, f"--trust={MINE}")
        (path,) = (folder / "runs" / f"{name}{stage}").glob("*/metrics.json")
        found.append(json.loads(path.read_text()))
    assert found[0] == found[1]
    assert ("test/flow-augmented/flicker" in found[0]) == (stage == 3)


def test_generate_by_command(folder):
    for out in ("a.mp4", "b.mp4"):
        run("generate", "--model=model", f"--out={out}", f"--trust={MINE}", *KEY)
    assert (folder / "a.mp4").read_bytes() == (folder / "b.mp4").read_bytes()


def test_a_table_by_command(folder):
    run(
        "test",
        "--config=eval/davis_i2v.yaml",
        "--model.model=model",
        "--model.out=table",
        f"--trust={MINE}",
        "--data=user_ext.dataset.VideoFolder",
        "--data.folder=videos",
        "--data.size=[32,32]",
        "--data.num_frames=5",
        f"--model.metrics+={MINE}.metric.Flicker",
    )
    report = json.loads((folder / "table" / "report.json").read_text())
    assert report["data"]["samples"] == 8
    assert report["metrics"]["flicker"]["unit"] == "levels"
    assert report["rows"]["frozen key frame"]["metrics"]["flicker"]["value"] == 0
    assert report["rows"]["MoVideo, generated motion"]["metrics"]["flicker"]["value"] > 0


def test_without_trust_one_line_names_the_option_and_nothing_is_imported(folder, movideo):
    """By command and in Python; a package that is importable is not imported."""
    forget()
    os.chdir(folder)
    for arguments in (
        ("generate", "--model=model", *KEY),
        ("export", "--out=again", f"--checkpoints=[{CHECKPOINTS[1]}, {CHECKPOINTS[2]}]"),
        ("test", "--config=generation.yaml", "--model.model=model"),
    ):
        error = movideo(*arguments).error
        assert error.startswith(f"{MINE}.")
        assert f"--trust {MINE}" in error
    with pytest.raises(UserError, match=rf"trust=\['{MINE}'\]"):
        MoVideoPipeline.from_pretrained(folder / "model")
    assert not [name for name in sys.modules if name.partition(".")[0] == MINE]


def test_an_entry_point_of_an_installed_package_is_trust_enough(folder, monkeypatch):
    """A distribution as pip leaves it: metadata beside the package."""
    site = folder / "site"
    copytree(RECIPES, site / "installed_ext", dirs_exist_ok=True)
    info = site / "installed_ext-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-ext\nVersion: 1.0\n")
    parts = {
        "backbone": "DiT",
        "motion_space": "RootMotionSpace",
        "condition_transform": "NoDepth",
    }
    lines = [f"{name} = installed_ext.{module}:{name}" for module, name in parts.items()]
    (info / "entry_points.txt").write_text("\n".join(["[movideo.parts]", *lines, ""]))
    model = copytree(folder / "model", folder / "installed", dirs_exist_ok=True)
    index = model / "model_index.json"
    index.write_text(index.read_text().replace(f'"{MINE}.', '"installed_ext.'))
    with pytest.raises(UserError, match="--trust installed_ext"):
        MoVideoPipeline.from_pretrained(model)
    monkeypatch.syspath_prepend(site)
    found = video(MoVideoPipeline.from_pretrained(model))
    assert torch.equal(found, video(MoVideoPipeline.from_pretrained("model", trust=[MINE])))
    run("generate", f"--model={model}", "--out=c.mp4", *KEY)
    run("generate", "--model=model", "--out=d.mp4", f"--trust={MINE}", *KEY)
    assert (folder / "c.mp4").read_bytes() == (folder / "d.mp4").read_bytes()
    # An entry point names a class, and trusts no other of its package.
    index.write_text(index.read_text().replace('"NoDepth"', '"replace"'))
    with pytest.raises(UserError, match="--trust installed_ext"):
        MoVideoPipeline.from_pretrained(model)
