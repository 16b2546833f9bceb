"""Two processes that share a folder of videos."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = (
    sys.executable, "-m", "movideo", "fit", "--config", "stage1.yaml",
    "--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp",
    "--data.num_frames", "1", "--data.size", "[32, 32]", "--model.motion_grid", "[16, 16]",
)  # fmt: skip


@pytest.mark.slow
def test_both_end_at_once_with_the_command_to_run(folder, tmp_path):
    options = ("--data.videos", str(folder))
    with open(tmp_path / "err", "w") as err:
        process = subprocess.Popen(
            [*COMMAND, *options], cwd=tmp_path, stderr=err, stdout=err, start_new_session=True
        )
        # Importing everything takes most of it; a barrier would wait for half an hour.
        code = process.wait(timeout=120)
    assert code == 2, (tmp_path / "err").read_text()
    wait_for_group(process.pid, seconds=30)
    told = (tmp_path / "err").read_text()
    assert "Traceback" not in told
    assert "clips have no labels; make them first with: movideo precompute --config" in told
    assert not list((tmp_path / "data").rglob("*.safetensors"))


def wait_for_group(group, seconds):
    """Returns when no process of the group is left."""
    for _ in range(10 * seconds):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process was left waiting")


@pytest.mark.slow
@pytest.mark.timeout(900)  # five processes that import everything
def test_two_train_as_one_and_resume(folder, tmp_path):
    """Real processes, since Lightning may exchange samplers there."""
    journal(tmp_path, folder, "one", processes=1, batch_size=4)
    journal(tmp_path, folder, "two", processes=2, batch_size=2)
    (whole,), ranks = read(tmp_path, "one", 1), read(tmp_path, "two", 2)
    assert len(whole) == 4
    # Two batches of four an epoch of eight clips; the ranks take every other clip.
    for batch, *shares in zip(whole, *ranks, strict=True):
        assert [batch[0::2], batch[1::2]] == shares
    journal(tmp_path, folder, "rest", 2, 2, tmp_path / "two-step=1.ckpt")
    assert read(tmp_path, "rest", 2) == [batches[1:] for batches in ranks]


def journal(out, folder, name, processes, batch_size, *checkpoint):
    script = Path(__file__).with_name("two_processes.py")
    arguments = map(str, (script, processes, batch_size, folder, out / name, *checkpoint))
    subprocess.run([sys.executable, *arguments], check=True, timeout=300)


def read(out, name, processes):
    return [json.loads((out / f"{name}.{r}.json").read_text()) for r in range(processes)]
