"""Names and messages of files that are written whole; what locks and kills do is in test_write."""

import errno
import logging
import os
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import SafetensorError

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.hub.model_folder import save_part
from movideo.storage.atomic import cannot_write, check_writable, hidden_beside, whole_file

LONG = ("é" * 118 + ".mp4", "x" * 251 + ".csv", "x" * 255)


@pytest.mark.parametrize("name", LONG, ids=lambda name: f"{len(name.encode())} bytes")
def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path, name):
    path = tmp_path / name
    check_writable(path)
    with whole_file(path) as temporary:
        assert temporary.suffix == path.suffix or name == LONG[2]
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == [name]


def test_one_byte_more_is_told(tmp_path):
    with (
        pytest.raises(UserError, match=r"cannot be written \(File name too long\); choose"),
        whole_file(tmp_path / ("x" * 256)),
    ):
        pass


def test_hidden_names_are_told_apart():
    assert hidden_beside(Path("d/l.csv"), ".journal") == Path("d/.l.csv.journal")
    hashed = [hidden_beside(Path("d", "x" * 250 + end), ".journal") for end in ("a", "b")]
    assert hashed[0] != hashed[1]
    assert all(len(path.name) < 60 and path.parent == Path("d") for path in hashed)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_from_a_wrong_place(code):
    message = str(cannot_write("a.mp4", OSError(code, os.strerror(code))))
    assert message.endswith(f"({os.strerror(code)}); free some space and run it again")
    assert str(cannot_write("a", PermissionError(13, "denied"))).endswith("choose another place")


def test_a_clip_of_a_video_with_a_long_name_can_be_a_file(tmp_path):
    clip = Clip("é" * 120 + ".mp4", "0" * 64, 1.0, 10.0, 17, (64, 64), 8)
    with whole_file(tmp_path / f"{clip.name}.safetensors") as temporary:
        temporary.touch()
    assert clip.name.endswith(f"_1.000_{clip.key[:6]}")


COMMANDS = {
    "scenes": ["scenes", "--out", "s", "--clips", "1"],
    "generate": ["generate", "--image", "key.png", "--steps", "1", "--out", "a.mp4"],
    "index": ["index", "--videos", "v", "--out", "l.csv", "--clips_per_video", "40"],
}


@pytest.mark.parametrize(
    "command",
    [
        "index",
        pytest.param("scenes", marks=pytest.mark.slow),
        pytest.param("generate", marks=pytest.mark.slow),
    ],
)
def test_a_command_that_reaches_a_limit_says_so_in_one_line(tmp_path, command):
    """A limit on the size of files stands for a quota, which only root could set."""
    from PIL import Image

    from tests.video.files import write_numbered

    Image.new("RGB", (64, 64), "red").save(tmp_path / "key.png")
    (tmp_path / "v").mkdir()
    write_numbered(tmp_path / "v/a.mp4", 60, 25)
    done = subprocess.run(
        [sys.executable, "-m", "movideo", *COMMANDS[command]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("movideo: "))
    assert "File too large" in told
    assert "free some space and run it again" in told


def test_who_waits_for_another_process_is_told(tmp_path, caplog):
    path = tmp_path / "a.mp4"
    seen = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record):
            seen.set()

    logging.getLogger("movideo.storage.atomic").addHandler(handler := Seen())
    with ThreadPoolExecutor(1) as pool:
        with whole_file(path) as temporary:
            temporary.write_text("first")
            other = pool.submit(check_writable, path)
            assert seen.wait(60)
            assert not other.done()
        other.result()
    logging.getLogger("movideo.storage.atomic").removeHandler(handler)
    assert "another process writes it; waiting for it to end" in caplog.text
    assert path.read_text() == "first"


def test_what_safetensors_tells_of_a_full_disk_is_told_alike(tmp_path):
    class Part:
        def save_pretrained(self, folder):
            raise SafetensorError("Error while serializing: I/O error: quota (os error 122)")

    with pytest.raises(UserError, match=r"a: cannot be written \(Disk quota exceeded\); free some"):
        save_part(Part(), tmp_path / "a")
