"""Steps that would break the weights are skipped and named; waiting for ever ends."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from movideo.errors import UserError
from movideo.hub.checkpoint import Checkpoint
from stages import FlowDecoderGAN, LatentVideoDiffusion
from stages.checkpoints import StepCheckpoint
from stages.guards import SKIPPED_CLIPS, NonFiniteGuard, StallGuard
from tests.stages.parts import ClipData, decoder_parts, trainer, video_parts

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "automatic": lambda: LatentVideoDiffusion(**video_parts()),
    "manual": lambda: FlowDecoderGAN(**decoder_parts()),
}


class Spoiler(L.Callback):
    """Makes a NaN of one number of some batches."""

    def __init__(self, *steps):
        self.steps = steps

    def on_train_batch_start(self, trainer, stage, batch, batch_idx):
        if trainer.global_step in self.steps:
            batch["video"][0, 0, 0, 0, 0] = torch.nan


class States(L.Callback):
    """All that a step changes, after each."""

    def __init__(self):
        self.states = []

    def on_train_batch_end(self, trainer, stage, *args):
        state = {name: value.clone() for name, value in stage.state_dict().items()}
        state |= {f"ema.{name}": value.clone() for name, value in stage.average.tensors.items()}
        for i, optimizer in enumerate(trainer.optimizers):
            for p, moments in optimizer.state_dict()["state"].items():
                state |= {f"{i}.{p}.{k}": v.clone() for k, v in moments.items()}
        self.states.append(state)


def fit(folder, stage, steps, *callbacks, patience=3, **options):
    guard, states = NonFiniteGuard(patience), States()
    logger = CSVLogger(folder, name="log", version=0)
    runner = trainer(
        folder, steps, callbacks=[*callbacks, guard, states], logger=logger,
        log_every_n_steps=1, **options,
    )  # fmt: skip
    runner.fit(stage, datamodule=ClipData())
    return runner, guard, states.states


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_batch_changes_nothing_and_is_named(tmp_path, kind, caplog):
    runner, guard, states = fit(tmp_path, KINDS[kind](), 4, Spoiler(1))
    assert runner.global_step == 4
    assert guard.skipped == 1
    assert equal(states[1], states[0])  # both optimisers, weights and average
    assert not equal(states[2], states[1])
    for value in states[-1].values():
        assert value.isfinite().all()
    (record,) = (r for r in caplog.records if r.levelno == logging.WARNING and "skipped" in r.msg)
    # the second batch of two clips
    assert record.getMessage().endswith("not finite; clips: clip-0-2, clip-0-3")
    assert record.getMessage().startswith("step 1: ")
    header, *rows = (tmp_path / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("train/skipped_steps")
    assert [float(row.split(",")[column]) for row in rows] == [0, 1, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_batches_in_a_row_end_the_run(tmp_path, kind):
    saving = StepCheckpoint(tmp_path, every_n_train_steps=1, save_last=True)
    # one that is followed by a good one does not count among those in a row
    spoiler = Spoiler(0, 2, 3, 4)
    with pytest.raises(UserError, match=f"3 steps in a row: .*{SKIPPED_CLIPS}; lower"):
        fit(tmp_path, KINDS[kind](), 9, saving, spoiler, enable_checkpointing=True)
    found = json.loads((tmp_path / SKIPPED_CLIPS).read_text())
    # four batches of two clips an epoch
    clips = [["clip-0-4", "clip-0-5"], ["clip-0-6", "clip-0-7"], ["clip-0-0", "clip-0-1"]]
    assert found == [{"step": 2 + i, "clips": names} for i, names in enumerate(clips)]
    last = Checkpoint.read(tmp_path / "last.ckpt")
    assert last.step == 4  # skipped steps count; the one that ended the run was not saved
    for value in last.weights().values():
        assert value.isfinite().all()


def test_a_bad_gradient_under_a_good_loss_is_skipped(tmp_path):
    class Steep(LatentVideoDiffusion):
        def on_after_backward(self):
            if self.global_step == 1:
                next(self.unet.parameters()).grad[0] = torch.inf

    _, guard, states = fit(tmp_path, Steep(**video_parts()), 3)
    assert guard.skipped == 1
    assert equal(states[1], states[0])


def test_of_accumulated_batches_one_bad_one_spoils_the_step(tmp_path):
    class BadFirst(L.Callback):
        def on_train_batch_start(self, trainer, stage, batch, batch_idx):
            if batch_idx == 0:
                batch["video"][0, 0, 0, 0, 0] = torch.nan

    stage = KINDS["automatic"]()
    _, guard, _ = fit(tmp_path, stage, 2, BadFirst(), accumulate_grad_batches=2)
    assert guard.skipped == 1
    assert stage.average.updates == 1  # of two steps, four batches


def test_the_count_goes_on_after_resuming():
    guard, resumed = NonFiniteGuard(3), NonFiniteGuard(3)
    guard.skipped, guard._in_a_row = 5, [{"step": 7, "clips": ["a"]}]
    resumed.load_state_dict(guard.state_dict())
    assert (resumed.skipped, resumed._in_a_row) == (5, guard._in_a_row)


def test_settings_out_of_range():
    with pytest.raises(UserError, match=r"non_finite\.patience: 0; give 1 or more"):
        NonFiniteGuard(0)
    with pytest.raises(UserError, match=r"stall\.seconds: 0; give a number above 0, or null"):
        StallGuard(0)


STALLED = """
import sys, time
from torch.utils.data import DataLoader
from stages import LatentVideoDiffusion
from stages.guards import StallGuard
from tests.stages.parts import Clips, ClipData, trainer, video_parts

class Stuck(Clips):
    def __getitem__(self, index):
        if index == 3:
            time.sleep(100)
        return super().__getitem__(index)

class Data(ClipData):
    def train_dataloader(self):
        return DataLoader(Stuck(8), 2, num_workers=1)

runner = trainer(sys.argv[1], 4, callbacks=[StallGuard(2.0)])
runner.fit(LatentVideoDiffusion(**video_parts()), datamodule=Data())
"""


def test_a_stalled_loader_ends_with_the_stacks_of_all_threads(tmp_path):
    with open(tmp_path / "err", "w+") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", STALLED, str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stderr=err,
            start_new_session=True,
        )
        try:
            assert process.wait(timeout=60) == 1
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the worker still sleeps
        told = (tmp_path / "err").read_text()
    assert "Timeout (0:00:02)!" in told
    assert "most recent call first" in told
    assert "in _try_get_data" in told  # what it waited for


def test_a_run_that_ended_is_watched_no_longer(tmp_path, monkeypatch):
    armed = []
    monkeypatch.setattr(
        "faulthandler.dump_traceback_later", lambda seconds, **_: armed.append(seconds)
    )
    monkeypatch.setattr("faulthandler.cancel_dump_traceback_later", armed.clear)
    seen = []

    class See(L.Callback):
        def on_train_batch_end(self, *args):
            seen.append(len(armed))

    runner = trainer(tmp_path, 2, callbacks=[StallGuard(5.0), See()])
    runner.fit(KINDS["automatic"](), datamodule=ClipData())
    assert seen[0] > 0
    assert seen[1] > seen[0]  # armed again by every batch
    assert not armed
