"""Two processes of torchrun that are told to stop, once one of them and once all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.event_files import losses

ROOT = Path(__file__).resolve().parents[2]
STEPS = 40
COMMAND = (
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
    "-m", "movideo", "fit", "--config=cluster/ddp.yaml", "--config=stage2.yaml",
    "--data.videos=scenes", "--data.num_frames=5", "--data.batch_size=1",
    "--data.split.val=0", "--data.split.test=0", "--model.motion_grid=[16,16]",
    "--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.precision=32-true",
    "--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=1",
    "--trainer.logger.init_args.flush_secs=1", "--trainer.enable_model_summary=false",
    "--ckpt_path=auto", "--stall.seconds=120", f"--trainer.max_steps={STEPS}",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_they_save_together_and_go_on_to_the_same_losses(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "movideo", "scenes", "--out=scenes", "--clips=8", "--num_frames=5"],
        cwd=tmp_path, env=environment(), check=True, timeout=120,
    )  # fmt: skip
    run = tmp_path / "runs" / "told"
    first = start(tmp_path, "told")
    wait_for_steps(run, 4)
    os.kill(process_of_rank(first, 1), signal.SIGUSR1)
    assert first.wait(timeout=60) != 0
    second = start(tmp_path, "told")
    wait_for_steps(run, 16)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=60) != 0
    assert start(tmp_path, "told").wait(timeout=200) == 0
    assert start(tmp_path, "whole").wait(timeout=200) == 0
    assert len(list(run.rglob("events.*"))) == 3
    expected = losses(tmp_path / "runs" / "whole")
    assert sorted(expected) == list(range(STEPS))
    assert losses(run) == expected  # to the bit, and none is lost or taken twice
    told, whole = (
        torch.load(next(path.rglob("last.ckpt")), weights_only=True)["ema"]
        for path in (run, tmp_path / "runs" / "whole")
    )
    assert all(torch.equal(whole[name], told[name]) for name in whole)


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(folder, name):
    """Starts the run, or goes on with it."""
    log = (folder / f"{name}.log").open("a")
    command = [*COMMAND, f"--trainer.logger.init_args.name={name}"]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)


def process_of_rank(launcher, rank):
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (found,) = (
        int(child)
        for child in children
        if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text()
    )
    return found


def wait_for_steps(run, count):
    for _ in range(240):
        if len(losses(run)) >= count:
            return
        time.sleep(0.5)
    pytest.fail(f"{count} steps take too long")
