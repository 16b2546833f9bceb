"""What a run prints into a log file: plain lines, and no control characters."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "--data.scenes.count=4",
    "--data.test_scenes.count=2",
    "--data.size=[32,32]",
    "--data.batch_size=2",
    "--trainer.max_steps=2",
    "--trainer.limit_val_batches=0",
    "--trainer.enable_model_summary=false",
)


def logged(folder, *arguments, seconds="0") -> str:
    """All that a command writes into a file that takes both streams, as under nohup."""
    path = folder / "log"
    with open(path, "w") as file:
        subprocess.run(
            [sys.executable, "-m", "movideo", *arguments],
            cwd=folder,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "MOVIDEO_PROGRESS_SECONDS": seconds,
            },
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=250,
            check=True,
        )
    return path.read_bytes().decode()


def test_a_run_in_a_log_file_says_how_far_it_is(tmp_path):
    log = logged(tmp_path, "fit", "--config=stage0.yaml", *TINY)
    assert "\r" not in log
    assert "\x1b" not in log
    steps = re.findall(r"^step (\d)/2, loss [\d.]+, ([\d.]+) clips/s, 00:0\d left$", log, re.M)
    assert [step for step, _ in steps] == ["1", "2"]
    assert all(float(rate) > 0 for _, rate in steps)
    # The scenes were rendered first, by a tool's bar.
    assert re.search(r"^rendering scenes into \S+: \d+/4 scenes, .* left$", log, re.M)
    tested = logged(
        tmp_path,
        "test",
        "--config=stage0.yaml",
        *TINY[:4],
        "--ckpt_path=runs/stage0/version_0/checkpoints/last.ckpt",
    )
    assert re.search(r"^batch 4/4, [\d.]+ clips/s, 00:00 left$", tested, re.M)


def test_short_work_says_nothing(tmp_path):
    log = logged(tmp_path, "scenes", "--out=scenes", "--clips=2", seconds="60")
    assert log == "2 clips in scenes, labels in scenes/labels\n"


@pytest.mark.parametrize("watched", [True, False])
def test_a_terminal_has_a_bar_and_a_file_has_lines(monkeypatch, capsys, watched):
    from movideo import progress

    monkeypatch.setattr(progress, "on_terminal", lambda: watched)
    monkeypatch.setenv(progress.INTERVAL, "0")
    list(progress.Progress(range(3), desc="counting", unit="clip", delay=0, mininterval=0))
    shown = capsys.readouterr().err
    assert ("\r" in shown) == watched
    if not watched:
        lines = shown.splitlines()
        assert [line.partition(",")[0] for line in lines] == [
            f"counting: {n}/3 clips" for n in range(4)
        ]
