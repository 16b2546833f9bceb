"""A test reports the clips that it measured, and the same figures for any number of processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    *("--model.init_from", "embedded", "--trainer.accelerator", "cpu"),
    *("--data.data_dir", "data", "--data.num_frames", "5", "--data.batch_size", "2"),
    *("--data.scenes.count", "10", "--data.scenes.num_frames", "5"),
    *("--data.test_scenes.count", "3", "--data.test_scenes.num_frames", "5"),
    *("--data.num_workers", "0", "--data.split.val", "0.3"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
)
STEPS = ("--model.num_inference_steps", "1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")

    def start(command, stage, name, *options):
        logger = ("--trainer.logger.init_args.name", name)
        done = subprocess.run(
            [sys.executable, "-m", "movideo", command, "--config", f"stage{stage}.yaml",
             *SMALL, *logger, *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return folder / "runs" / name / "version_0", done.stdout

    return start


def results(folder):
    report = json.loads((folder / "report.json").read_text())
    return json.loads((folder / "metrics.json").read_text()), report


@pytest.mark.parametrize("stage", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_two_processes_measure_what_one_does(run, stage):
    """Three clips are padded to four for two processes, and one would count twice."""
    steps = STEPS if stage == 1 else ()
    alone, _ = run("test", stage, f"alone{stage}", *steps)
    both, _ = run("test", stage, f"both{stage}", *steps, "--trainer.devices", "2")
    (metrics, report), (others, other_report) = results(alone), results(both)
    assert metrics.keys() == others.keys()
    for name, value in metrics.items():  # batches of one and of two differ in their last digits
        assert others[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name
    assert report["data"] == other_report["data"]
    assert report["data"]["samples"] == 3


@pytest.mark.slow
def test_validation_of_two_processes_is_that_of_one(run):
    _, alone = run("validate", 3, "val_alone")
    _, both = run("validate", 3, "val_both", "--trainer.devices", "2")

    def table(text):
        rows = (line.split("│") for line in text.splitlines() if "val/" in line)
        return {row[1].strip(): float(row[2]) for row in rows}

    assert {"val/loss", "val/l1"} < table(alone).keys()
    assert table(both) == pytest.approx(table(alone), rel=1e-5)


def test_a_limited_test_reports_what_it_measured(run):
    whole, _ = run("test", 3, "whole")
    limited, _ = run("test", 3, "limited", "--trainer.limit_test_batches", "1")
    data, of_all = results(limited)[1]["data"], results(whole)[1]["data"]
    assert (data["samples"], data["samples of the data set"], of_all["samples"]) == (2, 3, 3)
    assert data["sample list"] != of_all["sample list"]
    (row, *_) = results(limited)[1]["rows"].values()
    assert {cell["samples"] for cell in row["metrics"].values()} == {2}
    compared = subprocess.run(
        [sys.executable, "-m", "movideo", "compare", whole, limited],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert compared.returncode == 2
    assert "sample" in compared.stderr
