"""Checkpoints are whole or not there: kills and full disks between two saves."""

import os
import resource
import signal
import subprocess
from contextlib import contextmanager

import pytest
import torch

from movideo.errors import UserError
from movideo.hub.checkpoint import Checkpoint
from stages import LatentVideoDiffusion
from stages.checkpoints import StepCheckpoint, WholeCheckpointIO
from tests.stages.parts import ClipData, trainer, video_parts


@contextmanager
def largest_file(size):
    """Within it the system refuses to write files beyond that many bytes, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(tmp_path):
    class Full(LatentVideoDiffusion):
        def on_train_batch_start(self, batch, batch_idx):
            super().on_train_batch_start(batch, batch_idx)
            if self.global_step == 3:
                limit.__enter__()

    limit = largest_file(20_000)
    saving = StepCheckpoint(tmp_path, every_n_train_steps=2, save_last=True)
    runner = trainer(tmp_path, 8, callbacks=[saving], enable_checkpointing=True)
    runner.strategy.checkpoint_io = WholeCheckpointIO()
    stage = Full(**video_parts())
    try:
        with pytest.raises(
            UserError, match=r"step=4\.ckpt: the checkpoint cannot be written \(File too large\); "
        ):
            runner.fit(stage, datamodule=ClipData())
    finally:
        limit.__exit__(None, None, None)
    assert files(tmp_path) == {"epoch=0-step=2.ckpt", "last.ckpt"}
    assert Checkpoint.read(tmp_path / "last.ckpt").step == 2


def test_a_small_file_system_that_is_full(tmp_path):
    """What a disk itself says; needs to be root, which the one above does not."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a file system here")
    try:
        path = tmp_path / "last.ckpt"
        WholeCheckpointIO().save_checkpoint({"value": torch.zeros(100_000)}, path)
        with pytest.raises(UserError, match=r"last\.ckpt: .*\(No space left on device\); make"):
            WholeCheckpointIO().save_checkpoint({"value": torch.ones(200_000)}, path)
        assert files(tmp_path) == {"last.ckpt"}
        assert torch.load(path)["value"].sum() == 0
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path, moment):
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"value": torch.zeros(10)}, path)
    child = os.fork()
    if not child:  # dies when all is written, or when only the name is missing
        setattr(os, moment, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        WholeCheckpointIO().save_checkpoint({"value": torch.ones(10)}, path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert torch.load(path)["value"].sum() == 0
    assert len(files(tmp_path)) == 2
    WholeCheckpointIO().save_checkpoint({"value": torch.ones(10)}, path)
    assert torch.load(path)["value"].sum() == 10
    assert files(tmp_path) == {"last.ckpt"}  # nothing of the killed process is left


def test_the_file_and_its_name_are_on_the_disk_before_it_counts_as_saved(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("sync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("rename"), replace(*paths)))
    WholeCheckpointIO().save_checkpoint({"value": 1}, tmp_path / "last.ckpt")
    assert order == ["sync", "rename", "sync"]


def test_a_run_that_ends_between_two_saves_is_saved(tmp_path):
    saving = StepCheckpoint(tmp_path, every_n_train_steps=2, save_last=True)
    runner = trainer(tmp_path, 3, callbacks=[saving], enable_checkpointing=True)
    runner.fit(LatentVideoDiffusion(**video_parts()), datamodule=ClipData())
    assert Checkpoint.read(tmp_path / "last.ckpt").step == 3


def test_going_on_from_an_earlier_step_the_last_one_keeps_its_name(tmp_path):
    def run(steps, start=None):
        saving = StepCheckpoint(tmp_path, every_n_train_steps=1, save_last=True, save_top_k=-1)
        runner = trainer(tmp_path, steps, callbacks=[saving], enable_checkpointing=True)
        stage = LatentVideoDiffusion(**video_parts())
        runner.fit(stage, datamodule=ClipData(), ckpt_path=start, weights_only=False)

    run(2)
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    run(3, tmp_path / "epoch=0-step=1.ckpt")  # written before there was a last one
    assert [name for name in files(tmp_path) if name.startswith("last")] == ["last.ckpt"]
    assert Checkpoint.read(tmp_path / "last.ckpt").step == 3
