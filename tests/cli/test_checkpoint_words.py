"""Words as --ckpt_path, names of checkpoints, folders that are no run's, logs that go on."""

import csv
import json
from pathlib import Path

import pytest
import torch

STAGE = (
    *("--config", "stage0.yaml", "--data.num_frames", "1", "--data.batch_size", "1"),
    *("--data.scenes.count", "8", "--data.scenes.num_frames", "2", "--data.size", "[32, 32]"),
    *("--data.test_scenes.count", "2", "--data.test_scenes.num_frames", "2"),
    *(
        "--data.num_workers",
        "0",
        "--trainer.accelerator",
        "cpu",
        "--trainer.limit_val_batches",
        "1",
    ),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.val_check_interval", "1", "--trainer.log_every_n_steps", "1"),
)
RUN = Path("runs/stage0")


def fit(movideo, steps, *options):
    done = movideo("fit", *STAGE, "--trainer.max_steps", steps, *options)
    assert done.code == 0, done.err
    return done


def versions():
    return sorted(path.name for path in RUN.iterdir())


@pytest.mark.parametrize("word", ["best", "hpc", "registry"])
@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_words_that_mean_nothing_in_a_new_process(movideo, tmp_path, command, word):
    error = movideo(command, *STAGE, "--ckpt_path", word).error
    assert error.startswith(f"ckpt_path: {word} means nothing in a new process; name the file")
    assert not list(tmp_path.iterdir())


def test_last_is_the_newest_of_the_run_or_nothing(movideo, tmp_path):
    for command in ("test", "fit"):
        error = movideo(command, *STAGE, "--ckpt_path", "last").error
        assert error.startswith("ckpt_path: last, and there is none in runs/stage0")
    assert not list(tmp_path.iterdir())
    fit(movideo, 1)
    fit(movideo, 2)
    assert versions() == ["version_0", "version_1"]
    fit(movideo, 3, "--ckpt_path", "last")
    assert versions() == ["version_0", "version_1"]
    newest = torch.load(RUN / "version_1/checkpoints/last.ckpt", weights_only=True)
    assert newest["global_step"] == 3
    results = {}
    for name, path in {"word": "last", "file": RUN / "version_1/checkpoints/last.ckpt"}.items():
        logger = ("--trainer.logger.init_args.name", name)
        if name == "word":  # looked for where the run's own logger writes
            logger = ("--trainer.logger.init_args.version", "version_1")
        done = movideo("test", *STAGE, *logger, "--ckpt_path", path)
        assert done.code == 0, done.err
        folder = RUN / "version_1" if name == "word" else Path("runs/file/version_0")
        results[name] = json.loads((folder / "metrics.json").read_text())
    assert results["word"] == results["file"]


def test_stage_0_without_a_checkpoint_is_not_measured(movideo):
    for command in ("test", "validate"):
        assert "untrained" in movideo(command, *STAGE).error


@pytest.mark.parametrize(
    "filename", ["{step}-{val/loss:.3f}", "[{step}] a*b?", "deep/{step}", "plain"]
)
def test_auto_finds_checkpoints_of_any_name(movideo, tmp_path, filename):
    callback = {
        "class_path": "stages.checkpoints.StepCheckpoint",
        "init_args": {
            "filename": filename, "monitor": "val/loss", "every_n_train_steps": 1,
            "save_last": False,
        },
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(json.dumps({"trainer": {"callbacks": [callback]}}))
    options = ("--config", "c.yaml", "--ckpt_path", "auto")
    fit(movideo, 1, *options)
    fit(movideo, 2, *options)
    assert versions() == ["version_0"]


def test_auto_takes_a_callback_or_a_logger_alone_or_in_a_list(movideo, tmp_path):
    callback = {
        "class_path": "stages.checkpoints.StepCheckpoint",
        "init_args": {"save_last": True},
    }
    logger = {
        "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
        "init_args": {"save_dir": "runs", "name": "stage0"},
    }
    (tmp_path / "one.yaml").write_text(json.dumps({"trainer": {"callbacks": callback}}))
    (tmp_path / "list.yaml").write_text(json.dumps({"trainer": {"logger": [logger]}}))
    fit(movideo, 1, "--config", "one.yaml", "--ckpt_path", "auto")
    fit(movideo, 2, "--config", "list.yaml", "--ckpt_path", "auto")
    assert versions() == ["version_0"]


MINE = "# mine\ndata: {num_frames: 1}\n"


def test_without_a_logger_nothing_is_written_where_the_user_is(movideo, tmp_path):
    fit(movideo, 1)
    (tmp_path / "config.yaml").write_text(MINE)
    before = sorted(tmp_path.iterdir())
    checkpoint = RUN / "version_0/checkpoints/last.ckpt"
    for command in ("test", "validate"):
        options = ("--config", "config.yaml", "--trainer.logger", "false")
        done = movideo(command, *STAGE, *options, "--ckpt_path", checkpoint)
        assert done.code == 0, done.err
        assert "psnr" in done.out  # the table is shown all the same
    fit(movideo, 1, "--trainer.logger", "false", "--trainer.enable_checkpointing", "false")
    assert (tmp_path / "config.yaml").read_text() == MINE
    assert sorted(tmp_path.iterdir()) == before


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_of_a_csv_log_stay_when_a_run_goes_on(movideo):
    logger = (
        "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
        "--trainer.logger.save_dir=runs",
        "--trainer.logger.name=stage0",
    )
    fit(movideo, 2, *logger)
    path = RUN / "version_0/metrics.csv"
    first = rows(path)
    fit(movideo, 4, *logger, "--ckpt_path", "auto")
    assert versions() == ["version_0"]
    both = rows(path)
    assert both[: len(first)] == first
    steps = [int(row["step"]) for row in both if row["train/loss"]]
    assert steps == [0, 1, 2, 3]


def test_auto_goes_on_from_the_furthest_checkpoint_of_a_copied_run(movideo):
    """A copy makes all files as old as itself, and in the order of their names."""
    save = (
        "--trainer.callbacks=stages.checkpoints.StepCheckpoint",
        "--trainer.callbacks.filename={step}",
        "--trainer.callbacks.every_n_train_steps=1",
        "--trainer.callbacks.save_top_k=-1",
        "--trainer.callbacks.save_last=false",
    )
    fit(movideo, 3, *save)
    folder = RUN / "version_0/checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"step={number}.ckpt" for number in (1, 2, 3)
    ]
    for number in (3, 2, 1):
        (folder / f"step={number}.ckpt").touch()  # the first step is the youngest file
    fit(movideo, 4, *save, "--ckpt_path", "auto")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"step={number}.ckpt" for number in (1, 2, 3, 4)  # and no step=2-v1.ckpt
    ]  # fmt: skip


def test_a_callback_with_an_enumeration_among_its_defaults_can_be_added(movideo):
    timer = "--trainer.callbacks+=lightning.pytorch.callbacks.Timer"
    fit(movideo, 1, timer)
    assert "interval: step" in (RUN / "version_0/config.yaml").read_text()
    assert (RUN / "version_0/checkpoints/last.ckpt").is_file()  # ours are there too
