"""`movideo index` as it is run: processes, kills, and what it says."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from datamodules import VideoClipDataModule
from movideo.clips.lists import build
from movideo.clips.lists.clip_list import read_clip_list
from movideo.clips.lists.rows import describe_video
from movideo.scenes.render import render_scene
from movideo.video.decoding.pixels import to_bytes
from tests.video.files import write_frames, write_numbered

pytest.importorskip("scenedetect")

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--num_frames", 5, "--size", "[32,32]", "--clips_per_video", 2)


@pytest.fixture
def videos(tmp_path):
    """A scene in 25 files, two that cannot be read among them, and one that is there twice."""
    folder = tmp_path / "videos"
    folder.mkdir()
    frames = list(to_bytes(render_scene(0, 30, fps=25).video))
    scene = write_frames(tmp_path / "scene.mp4", frames, range(30), "1/25")
    for number in range(25):  # each with a box of its own that players skip
        box = (9).to_bytes(4, "big") + b"free" + bytes([number])
        (folder / f"{number}.mp4").write_bytes(scene.read_bytes() + box)
    scene.unlink()
    (folder / "twice.mp4").write_bytes((folder / "3.mp4").read_bytes())
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("words")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_list_does_not_depend_on_the_number_of_processes(movideo, tmp_path, videos):
    pytest.importorskip("pyarrow")
    for out in ("1.parquet", "3.parquet", "3.csv", "3.jsonl"):
        done = movideo("index", "--videos", videos, "--out", out, "--workers", out[0], *OPTIONS)
        assert done.code == 0, done.err
        assert done.out == (
            f"50 clips of 28 videos in {out}; "
            "left out: 1 empty file; 1 not a video, or damaged; 1 duplicate\n"
        )
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "3.parquet").read_bytes()
    clips = [read_clip_list(tmp_path / f"3.{suffix}") for suffix in ("parquet", "csv", "jsonl")]
    assert clips[0] == clips[1] == clips[2]
    lists = ["1.parquet", "3.csv", "3.jsonl", "3.parquet"]
    assert names(tmp_path) == sorted([*lists, *(f".{name}.journal" for name in lists), "videos"])
    again = movideo("index", "--videos", videos, "--out", "3.csv", "--workers", "3", *OPTIONS)
    assert (again.code, again.out) == (0, "3.csv is finished already: nothing to do\n")


def processes(session):
    """Numbers of the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[2]) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(condition, running=None):
    deadline = time.monotonic() + 60
    while not condition():
        assert running is None or running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_process_and_goes_on(movideo, tmp_path, videos, monkeypatch):
    journal = tmp_path / ".l.csv.journal"
    command = [sys.executable, "-m", "movideo", "index", "--videos", videos, "--out", "l.csv"]
    running = subprocess.Popen(
        [str(word) for word in (*command, "--workers", 2, *OPTIONS)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 3, running)
    running.kill()
    running.communicate()
    wait_until(lambda: not processes(running.pid))
    assert names(tmp_path) == [".l.csv.journal", "videos"]
    finished = journal.read_bytes().count(b"\n") - 1
    assert 3 <= finished < 28

    described = []

    def describe(path, settings):
        described.append(path)
        return describe_video(path, settings)

    monkeypatch.setattr(build, "describe_video", describe)
    again = movideo("index", "--videos", videos, "--out", "l.csv", "--workers", 1, *OPTIONS)
    assert again.code == 0, again.err
    assert len(described) == 28 - finished
    movideo("index", "--videos", videos, "--out", "whole.csv", "--workers", 1, *OPTIONS)
    assert len(described) == 2 * 28 - finished
    assert (tmp_path / "l.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert names(tmp_path) == [
        *(".l.csv.journal", ".whole.csv.journal"), "l.csv", "videos", "whole.csv"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--videos=v", "--out=l.txt"], "l.txt: no format of that suffix; end it in .parquet, "),
        (["--videos=nowhere", "--out=l.csv"], "nowhere: no such file or folder; check the path"),
        (["--videos=v", "--out=old.csv"], "old.csv: exists already; name another list or "),
        (["--videos=v", "--out=l.csv", "--workers=0"], "--workers 0: give 1 or more"),
        (
            ["--videos=v", "--out=l.csv", "--num_frames=0"],
            "--num_frames: 0 is out of range; give 1 or more",
        ),
        (
            ["--videos=v", "--out=l.csv", "--fps_range=[9,3]"],
            "--fps_range: (9.0, 3.0) is out of range; give the lowest",
        ),
        (
            ["--videos=v", "--out=l.csv", "--wrokers=3"],
            "wrokers: no such option; did you mean workers?",
        ),
        (["--videos=v"], "arguments are required: out"),
        (["--videos=v", "--out=v/a.mp4/l.csv", "--workers=1"], "v/a.mp4"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(movideo, tmp_path, arguments, says):
    (tmp_path / "v").mkdir()
    write_numbered(tmp_path / "v" / "a.mp4", 5, 25)
    (tmp_path / "old.csv").write_text("edited")
    assert says in movideo("index", *arguments).error
    assert names(tmp_path) == ["old.csv", "v"]
    assert names(tmp_path / "v") == ["a.mp4"]


@pytest.mark.parametrize(("missing", "out"), [("scenedetect", "l.csv"), ("pyarrow", "l.parquet")])
def test_without_the_extra_one_line_says_what_to_install(
    movideo, tmp_path, videos, monkeypatch, missing, out
):
    for name in (missing, f"{missing}.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    error = movideo("index", "--videos", videos, "--out", out).error
    assert "pip install 'movideo[index]'" in error
    assert names(tmp_path) == ["videos"]


def test_a_list_is_what_data_videos_names(movideo, tmp_path, videos):
    movideo("index", "--videos", videos, "--out", "l.jsonl", "--workers", 1, *OPTIONS)
    data = VideoClipDataModule("l.jsonl", num_frames=5, size=(32, 32))
    # Training places the key frames of its own share anew.
    listed = {replace(clip, key_index=2) for clip in data.training_clips()}
    assert listed == set(read_clip_list("l.jsonl"))
    assert len(data.training_clips()) == 50
    error = movideo("precompute", "--videos", "l.jsonl", "--data.num_frames=9").error
    assert error.startswith("l.jsonl: num_frames of its clips is 5, not 9; set data.num_frames")
    text = (tmp_path / "l.jsonl").read_text().replace('"start": ', '"start": 9', 1)
    (tmp_path / "l.jsonl").write_text(text)
    error = movideo("precompute", "--videos", "l.jsonl", "--data.num_frames=5").error
    assert error.startswith("l.jsonl:1: start 9")
    assert error.endswith("lower it")
