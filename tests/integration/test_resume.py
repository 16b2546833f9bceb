"""Runs that end anywhere, what they say, and that they go on as if they had never ended."""

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--trainer.limit_val_batches=0",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.scenes.count=8",
    "--data.test_scenes.count=1",
    "--data.size=[32, 32]",
    "--data.batch_size=2",
    *(f"--data.{part}num_frames=5" for part in ("", "scenes.", "test_scenes.")),
    "--ckpt_path=auto",
)
OF_STAGE = {
    0: (),
    1: ("--model.motion_grid=[16,16]",),
    2: ("--model.motion_grid=[16,16]",),
    3: (
        "--model.motion_grid=[16,16]",
        "--model.adversarial_2d.start_step=1",
        "--model.adversarial_3d.start_step=3",
    ),
}
STAGES = tuple(OF_STAGE)


def options(folder, stage, name, steps, every, stop=None):
    """A run of some steps, saved every few; `stop` is a callback that ends it, with its step."""
    save = {"save_last": True, "save_top_k": 1, "every_n_train_steps": every}
    callbacks = [
        {"class_path": "stages.checkpoints.StepCheckpoint", "init_args": save},
        {
            "class_path": "lightning.pytorch.callbacks.LearningRateMonitor",
            "init_args": {"logging_interval": "step"},
        },
    ]
    if stop is not None:
        kind, step = stop
        callbacks.append({"class_path": f"tests.ending.{kind}", "init_args": {"step": step}})
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
    return (
        "--config",
        f"stage{stage}.yaml",
        "--config",
        str(config),
        *SMALL,
        *OF_STAGE[stage],
        f"--trainer.max_steps={steps}",
        f"--trainer.logger.init_args.name={name}",
    )


def curves(folder):
    """The scalars of each event file of a run, `{(curve, step): value}`, oldest file first."""
    files = sorted(folder.glob("events.*"), key=lambda path: path.stat().st_mtime_ns)
    found = []
    for path in files:
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        tags = [tag for tag in events.Tags()["scalars"] if tag != "epoch"]
        found.append({(t, e.step): e.value for t in tags for e in events.Scalars(t)})
    return found


def assert_the_same(whole, stopped, resumed_at):
    """Every metric of every start of the run, and all that is kept at its end.

    Args:
        whole: the folder of the run that was never stopped.
        stopped: that of the other.
        resumed_at: the steps taken before each further start.
    """
    (expected,) = curves(whole)
    starts = curves(stopped)
    assert len(starts) == 1 + len(resumed_at)
    for first, found in zip((0, *resumed_at), starts, strict=True):
        for place, value in found.items():
            assert value == expected[place], place  # to the bit
        if found:
            assert min(step for _, step in found) == first
    rest = {place: value for place, value in expected.items() if place[1] >= resumed_at[-1]}
    assert starts[-1] == rest
    assert rest
    ends = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (whole, stopped)
    ]
    for key in ("global_step", "state_dict", "ema", "ema_updates", "lr_schedulers"):
        assert_equal(ends[0][key], ends[1][key], key)
    assert_equal(ends[0]["optimizer_states"], ends[1]["optimizer_states"], "optimisers")


def assert_equal(one, other, where):
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}.{index}")
    else:
        assert one == other, where


@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_run_goes_on_in_its_folder_to_the_bit(movideo, tmp_path, stage):
    """Four steps of three an epoch, saved after two, stopped in the third."""
    for name, stop in (("whole", None), ("stopped", ("ExitAt", 3)), ("stopped", None)):
        done = movideo("fit", *options(tmp_path, stage, name, 4, 2, stop))
        assert done.code == (9 if stop else 0), done.err
    runs = tmp_path / "runs"
    assert [path.name for path in (runs / "stopped").iterdir()] == ["version_0"]
    assert_the_same(runs / "whole" / "version_0", runs / "stopped" / "version_0", [2])


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("stage", STAGES)
def test_kills_at_random_steps_change_nothing(tmp_path, stage):
    """Forty steps by the real command, killed five times."""
    kills = sorted(random.Random(stage).sample(range(1, 40), 5))
    every = 4
    fit_killed(tmp_path, stage, "whole", every)
    for step in (*kills, None):
        fit_killed(tmp_path, stage, "killed", every, step)
    # A kill comes before the save of its step.
    resumed_at = [(step - 1) // every * every for step in kills]
    runs = tmp_path / "runs"
    assert_the_same(runs / "whole" / "version_0", runs / "killed" / "version_0", resumed_at)


def fit_killed(folder, stage, name, every, kill=None):
    stop = None if kill is None else ("KillAt", kill)
    # One folder, also for what starts anew because nothing had been saved yet.
    command = (sys.executable, "-m", "movideo", "fit", "--trainer.logger.init_args.version=0")
    done = subprocess.run(
        [*command, *options(folder, stage, name, 40, every, stop)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == (0 if kill is None else -signal.SIGKILL), done.stderr


def test_auto_takes_the_newest_checkpoint_that_is_whole(movideo, tmp_path, caplog):
    assert movideo("fit", *options(tmp_path, 0, "run", 2, 2)).code == 0
    folder = tmp_path / "runs" / "run" / "version_0" / "checkpoints"
    last = folder / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])  # now the newest, and not whole
    done = movideo("fit", *options(tmp_path, 0, "run", 3, 2))
    assert done.code == 0, done.err
    assert re.search(r"last\.ckpt: not a checkpoint.*an older one is taken", caplog.text)
    assert "Restored all states from the checkpoint at runs/run/version_0/checkpoints/epoch" in (
        caplog.text
    )
    assert torch.load(last, weights_only=True)["global_step"] == 3  # whoever names it gets it
    for path in folder.glob("*.ckpt"):
        path.write_bytes(b"words")
    error = movideo("fit", *options(tmp_path, 0, "run", 4, 2)).error
    assert error.startswith("runs/run: no checkpoint there can be read")


@pytest.mark.parametrize(
    ("stage", "option", "message"),
    [
        (1, "--model.motion_grid=[8,8]", "model.motion_grid"),  # by the checkpoint
        (0, "--data.size=[30,30]", "size 30x30"),  # by the first step
    ],
)
def test_a_run_that_is_refused_leaves_the_options_of_the_one_before(
    movideo, tmp_path, stage, option, message
):
    assert movideo("fit", *options(tmp_path, stage, "run", 2, 2)).code == 0
    config = tmp_path / "runs" / "run" / "version_0" / "config.yaml"
    before = config.read_text()
    assert yaml.safe_load(before)["trainer"]["max_steps"] == 2
    error = movideo("fit", *options(tmp_path, stage, "run", 3, 2), option).error
    assert error.startswith(message)
    assert config.read_text() == before
    assert movideo("fit", *options(tmp_path, stage, "run", 3, 2)).code == 0
    assert yaml.safe_load(config.read_text())["trainer"]["max_steps"] == 3


@pytest.mark.parametrize(
    ("stage", "option", "message"),
    [
        (3, "accumulate_grad_batches=2", "in turns; set model.micro_batch_size instead"),
        (3, "gradient_clip_val=1", "in turns; set model.gradient_clip_val instead"),
        (2, "accumulate_grad_batches=0", "accumulate_grad_batches: 0; give 1 or more"),
    ],
)
def test_options_of_the_trainer_that_do_not_fit(movideo, stage, option, message):
    error = movideo("fit", f"--config=stage{stage}.yaml", f"--trainer.{option}").error
    assert error.startswith("trainer." + option.replace("=", ": ").split(".")[0])
    assert error.endswith(message)


def test_out_of_memory_says_what_to_lower(movideo, tmp_path):
    error = movideo("fit", *options(tmp_path, 0, "run", 2, 1, ("RunOutAt", 2))).error
    assert re.fullmatch(
        r"out of memory \(tried to allocate 4503599627370496 bytes\); lower data\.batch_size, "
        r"data\.num_frames or data\.size, or .*gradient_checkpointing.*micro_batch_size to 1\)",
        error,
    )
    # The step before it is there to go on from, with a smaller batch.
    assert (tmp_path / "runs" / "run" / "version_0" / "checkpoints" / "last.ckpt").is_file()


def test_a_full_gpu_says_the_same(movideo, monkeypatch):
    def refuse(*args, **kwargs):
        # as torch words it
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79 GiB"
        )

    monkeypatch.setattr("movideo.cli.stages.Trainer.fit", refuse)
    error = movideo("fit", "--config=stage0.yaml").error
    assert error.startswith("out of memory (Tried to allocate 20.00 GiB); lower data.batch_size")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--trainer.logger=false", "where a TensorBoardLogger or CSVLogger writes"),
        ("--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {dirpath: there}}]",
         "a dirpath of its own"),
    ],
)  # fmt: skip
def test_auto_says_where_it_cannot_look(movideo, option, message):
    error = movideo("fit", "--config=stage0.yaml", option, "--ckpt_path=auto").error
    assert error.startswith("ckpt_path: auto looks ")
    assert message in error


def test_auto_is_for_training(movideo):
    error = movideo("validate", "--config=stage0.yaml", "--ckpt_path=auto").error
    assert error == "ckpt_path: auto is for fit; name the checkpoint"
