"""`movideo test` of a table: repeatable, resumable, the same on two processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from benchmarks.davis_layout import write_davis
from movideo.evaluation.report import read_report
from movideo.scenes.render import render_scene
from tests.datamodules.layouts import write_msrvtt, write_ucf101
from tests.tiny_text_to_image import write_text_to_image

ROOT = Path(__file__).resolve().parents[2]
FRAMES, SEQUENCES = 5, 5
ROWS = ("MoVideo", "true motion", "flow warping", "frozen key frame")


@pytest.fixture
def config(tmp_path):
    """A table like `eval/davis_i2v.yaml` with few steps, over scenes in the layout of DAVIS."""
    scenes = {
        f"scene-{seed}": render_scene(seed, 9, (64, 96), fps=24).video for seed in range(SEQUENCES)
    }
    write_davis(tmp_path / "DAVIS", scenes)

    def method(name, room="evaluation", **options):
        return {"class_path": f"movideo.{room}.{name}", "init_args": options}

    methods = {
        "MoVideo": method("Generation", num_inference_steps=[2, 2]),
        "true motion": method("Generation", num_inference_steps=2, true_motion=True),
        "Gen-1": method("Generation", model="./models/gen1", optional=True),
        "flow warping": method("FlowWarping"),
        "frozen key frame": method("FrozenKeyFrame"),
    }
    metrics = ("PSNR", "FVD", "EmbeddedVideoDistance", "MotionFidelity", "WarpError")
    columns = [method(name, room="metrics") for name in metrics]
    path = tmp_path / "table.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "model": {
                    "class_path": "stages.VideoEvaluation",
                    "init_args": {
                        "methods": methods,
                        "metrics": columns,
                        "baseline": "frozen key frame",
                    },
                },
                "data": {
                    "class_path": "datamodules.DAVIS",
                    "init_args": {"num_frames": FRAMES, "size": [32, 32], "batch_size": 2},
                },
                "trainer": {"accelerator": "cpu", "enable_progress_bar": False},
            },
            sort_keys=False,
        )
    )
    return path


def arguments(config, out, *options):
    return ("test", f"--config={config}", f"--model.out={out}", *options)


def samples(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*.safetensors")
    }


def background(config, out, *options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "movideo", *arguments(config, out, *options)]
    return subprocess.Popen(command, cwd=config.parent, env=environment, start_new_session=True)


def test_a_table(movideo, config, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "no weights"))
    done = movideo(*arguments(config, "first"))
    assert done.code == 0, done.err
    report = read_report(tmp_path / "first")
    assert tuple(report.rows) == ROWS
    assert set(report.not_computed) == {"Gen-1", "FVD"}
    assert "i3d_torchscript.pt" in report.not_computed["FVD"]
    for row in report.rows.values():
        assert set(row.metrics) == {
            "PSNR",
            "embedded video distance",
            "motion fidelity",
            "warp error",
        }
        assert {cell.samples for cell in row.metrics.values()} == {SEQUENCES}
    cells = {title: row.metrics for title, row in report.rows.items()}
    # What never moves has no warp error; what is warped along the clip's own flow has its motion.
    assert cells["frozen key frame"]["warp error"].value == 0
    fidelity = {title: row["motion fidelity"].value for title, row in cells.items()}
    assert fidelity["flow warping"] < 0.5 * fidelity["frozen key frame"]
    for title, row in report.rows.items():
        difference = row.metrics["PSNR"].difference
        if title == report.baseline:
            assert difference is None
        else:
            gain = row.metrics["PSNR"].value - cells["frozen key frame"]["PSNR"].value
            assert difference.value == pytest.approx(gain, abs=1e-4)  # both of 6 digits
            assert difference.interval[0] <= difference.value <= difference.interval[1]
    assert "## Beside frozen key frame" in (tmp_path / "first" / "report.md").read_text()
    assert sorted(p.name for p in (tmp_path / "first" / "pictures").iterdir()) == [
        "best.png",
        "median.png",
        "worst.png",
    ]
    # Once more, elsewhere: the same. Once more, here: nothing is made again.
    assert movideo(*arguments(config, "second")).code == 0
    assert read_report(tmp_path / "second").content() == report.content()
    kept = samples(tmp_path / "first")
    assert len(kept) == (len(ROWS) + 1) * SEQUENCES  # and the true motion
    assert movideo(*arguments(config, "first")).code == 0
    assert samples(tmp_path / "first") == kept
    assert read_report(tmp_path / "first").content() == report.content()
    # Half precision would reach the metrics' networks.
    halved = movideo(*arguments(config, "halved", "--trainer.precision=bf16-mixed"))
    assert "trainer.precision: bf16-mixed; metrics are measured in 32-true" in halved.error
    unknown = movideo(*arguments(config, "first", "--model.baseline=still"))
    assert "model.baseline: 'still' is none of the methods (MoVideo, true motion," in unknown.error
    # Another seed would be mixed up with what is there.
    assert "made with seed 0, not 1" in movideo(*arguments(config, "first", "--model.seed=1")).error


@pytest.mark.slow
def test_a_killed_run_goes_on_and_two_processes_give_the_same(movideo, config, tmp_path):
    assert movideo(*arguments(config, "whole")).code == 0
    process = background(config, "killed")
    while len(samples(tmp_path / "killed")) < 8:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = samples(tmp_path / "killed")
    assert movideo(*arguments(config, "killed")).code == 0
    again = samples(tmp_path / "killed")
    assert {name: again[name] for name in kept} == kept
    whole = read_report(tmp_path / "whole").content()
    assert read_report(tmp_path / "killed").content() == whole

    two = background(config, "two", "--trainer.devices=2", "--trainer.strategy=ddp")
    assert two.wait(timeout=280) == 0
    assert read_report(tmp_path / "two").content() == whole


@pytest.mark.slow
@pytest.mark.parametrize("table", ["ucf101", "msrvtt", "prompts"])
def test_the_shipped_tables_of_text(movideo, table, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "no weights"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    draw = str(write_text_to_image(tmp_path / "sd"))
    data = tmp_path / "data"
    data.mkdir()
    options = [f"--data.folder={data}", "--data.fps=null"]
    if table == "ucf101":
        write_ucf101(data, {"ApplyEyeMakeup": [20], "PlayingGuitar": [19]})
    elif table == "msrvtt":
        write_msrvtt(data, {"video7010": ["a man talks", "a dog runs"]})
    else:
        (data / "prompts.txt").write_text("a red fox\na small boat\n")
        options = [f"--data.prompts={data / 'prompts.txt'}"]
    done = movideo(
        "test",
        f"--config=eval/{table}.yaml",
        *options,
        "--data.limit=2",
        "--model.text_to_image=movideo.text_to_image.TextToImage",
        f"--model.text_to_image.pretrained={draw}",
        "--trainer.accelerator=cpu",
    )
    assert done.code == 0, done.err
    report = read_report(tmp_path / "evaluation" / table)
    assert tuple(report.rows) == ("MoVideo", "frozen key frame")
    assert report.data["samples"] == 2
    measured = {"prompts": "motion fidelity"}.get(table, "embedded video distance")
    assert report.rows["MoVideo"].metrics[measured].samples == 2
    wanting = {"ucf101": {"IS", "FVD"}, "msrvtt": {"FID", "CLIPSIM"}}
    assert set(report.not_computed) == wanting.get(table, {"CLIPSIM", "frame consistency"})
