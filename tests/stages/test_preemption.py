"""A run that is told to stop saves between two steps, and goes on as if nothing had been."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from datamodules.loader import leave_stopping_to_the_run
from stages import FlowDecoderGAN, LatentVideoDiffusion
from stages.checkpoints import StepCheckpoint
from stages.preemption import StopWithCheckpoint
from tests.stages.parts import ClipData, decoder_parts, trainer, video_parts

KINDS = {
    "automatic": lambda: LatentVideoDiffusion(**video_parts()),
    "manual": lambda: FlowDecoderGAN(**decoder_parts()),
}
STEPS, STOPPED_IN = 6, 2
ROOT = Path(__file__).resolve().parents[2]


class SignalIn(L.Callback):
    """Sends the process a signal in the middle of a step."""

    def __init__(self, number, batch=STOPPED_IN):
        self.number, self.batch = number, batch

    def on_before_backward(self, trainer, *args):
        if trainer.fit_loop.total_batch_idx == self.batch and self.number is not None:
            os.kill(os.getpid(), self.number)
            self.number = None


def fit(folder, kind, *callbacks, ckpt_path=None, clips=2, **options):
    """Trains, and gives back the steps logged and the last checkpoint.

    Epochs are of one batch, unless told: this loader cannot go on in the middle of one.
    """
    torch.manual_seed(0)
    saved = StepCheckpoint(folder / "saved", save_last=True, every_n_train_steps=1000)
    logger = CSVLogger(folder, name=None, version="resumed" if ckpt_path else "first")
    runner = trainer(
        folder, STEPS, callbacks=[saved, StopWithCheckpoint(), *callbacks], logger=logger,
        enable_checkpointing=True, log_every_n_steps=1, **options,
    )  # fmt: skip
    try:
        runner.fit(
            KINDS[kind](), datamodule=ClipData(clips), ckpt_path=ckpt_path, weights_only=True
        )
    finally:
        (path,) = (folder / "saved").iterdir()
        assert path.name == "last.ckpt"
    rows = (folder / logger.version / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("step")
    return [int(row.split(",")[place]) for row in rows[1:]], torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("kind", "number", "status"),
    [("automatic", signal.SIGUSR1, 75), ("manual", signal.SIGTERM, 143)],
)
def test_it_saves_after_the_step_and_goes_on_to_the_same_end(tmp_path, kind, number, status):
    handlers = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        fit(tmp_path / "stopped", kind, SignalIn(number))
    assert ended.value.code == status
    assert handlers == (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGTERM))
    last = tmp_path / "stopped" / "saved" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == STOPPED_IN + 1
    logged = (tmp_path / "stopped" / "first" / "metrics.csv").read_text().splitlines()
    assert len(logged) == 1 + STOPPED_IN + 1  # the step's own metrics too
    steps, resumed = fit(tmp_path / "stopped", kind, ckpt_path=last)
    assert steps == list(range(STOPPED_IN + 1, STEPS))
    _, whole = fit(tmp_path / "whole", kind)
    assert resumed["global_step"] == whole["global_step"] == STEPS
    for key in ("state_dict", "ema"):
        assert whole[key]
        assert all(torch.equal(whole[key][name], resumed[key][name]) for name in whole[key])


def test_it_waits_until_accumulated_gradients_are_used(tmp_path):
    """Batch 2 is the first of two whose gradients make step 1 together."""
    with pytest.raises(SystemExit):
        fit(tmp_path, "automatic", SignalIn(signal.SIGUSR1), clips=8, accumulate_grad_batches=2)
    saved = torch.load(tmp_path / "saved" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 4


def test_a_run_that_is_told_before_its_first_step_saves_after_it(tmp_path, monkeypatch):
    """Lightning's own handler would make this process wait for others, which are not told."""
    make = ClipData.train_dataloader

    def told(data):
        os.kill(os.getpid(), signal.SIGTERM)
        return make(data)

    monkeypatch.setattr(ClipData, "train_dataloader", told)
    with pytest.raises(SystemExit) as ended:
        fit(tmp_path, "automatic")
    assert ended.value.code == 143
    saved = torch.load(tmp_path / "saved" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 1


def test_a_run_that_is_told_in_its_last_step_ends_as_ever(tmp_path):
    _, saved = fit(tmp_path, "automatic", SignalIn(signal.SIGTERM, batch=STEPS - 1))
    assert saved["global_step"] == STEPS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_loader_outlives_a_signal_to_all_processes(number):
    """Without `leave_stopping_to_the_run` the loader raises: a worker was killed."""
    loader = DataLoader(range(6), num_workers=1, worker_init_fn=leave_stopping_to_the_run)
    batches = iter(loader)
    found = [next(batches)]
    for worker in batches._workers:
        os.kill(worker.pid, number)
    assert torch.cat([*found, *batches]).tolist() == list(range(6))


READING = """
import multiprocessing, time
from datamodules.loader import leave_stopping_to_the_run

def read(started):
    leave_stopping_to_the_run(0)
    started.set()
    time.sleep(300)

started = multiprocessing.Event()
multiprocessing.Process(target=read, args=(started,), daemon=True).start()
started.wait()
"""


def test_a_run_that_ends_does_not_wait_for_what_its_workers_read():
    """Python ends workers by SIGTERM, to which these are deaf, and waits for them."""
    process = subprocess.Popen(
        [sys.executable, "-c", READING],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        assert process.wait(timeout=100) == 0
    finally:
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
