"""What a walk through a folder finds, follows and passes over, and what it says of that."""

import os

import pytest

from movideo.storage.walk import walk_files


@pytest.fixture
def folder(tmp_path):
    for name in (
        "data/a.mp4", "data/B.MP4", "data/deep/er/c.mp4", "data/notes.txt", "data/._a.mp4",
        "data/.Trash-1000/files/old.mp4", "data/.ipynb_checkpoints/a-checkpoint.mp4",
        "data/$RECYCLE.BIN/x.mp4", "data/__MACOSX/a.mp4", "elsewhere/d.mp4", "elsewhere/in/e.mp4",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "data"


def found(folder):
    return [str(path.relative_to(folder)) for path in walk_files(folder, (".mp4",))]


def test_files_are_sorted_and_hidden_ones_and_trash_are_left_out(folder, caplog):
    assert found(folder) == ["B.MP4", "a.mp4", "deep/er/c.mp4"]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{folder}: left out: hidden folders (4, such as {folder}/$RECYCLE.BIN)"
    )


def test_a_clean_folder_says_nothing(folder, caplog):
    assert found(folder / "deep") == ["er/c.mp4"]
    assert not caplog.records


def test_links_are_followed_and_each_folder_is_entered_once(folder, caplog):
    (folder / "more").symlink_to("../elsewhere")
    (folder / "deep/again").symlink_to("../../elsewhere")  # comes first
    (folder / "deep/loop").symlink_to("..")
    (folder / "single.mp4").symlink_to("../elsewhere/d.mp4")
    expected = ["B.MP4", "a.mp4", "deep/again/d.mp4", "deep/again/in/e.mp4", "deep/er/c.mp4"]
    assert found(folder) == [*expected, "single.mp4"]
    assert "links that" not in caplog.text


def test_links_that_lead_nowhere_are_counted(folder, caplog):
    (folder / "gone.mp4").symlink_to("../annex/gone.mp4")
    (folder / "unfetched.mp4").symlink_to("/nowhere/at/all.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "gone.txt").symlink_to("nowhere")  # is no video either way
    assert "gone.mp4" not in found(folder)
    assert f"links that lead nowhere (2, such as {folder}/gone.mp4)" in caplog.text
    assert f"(1, such as {folder}/loop.mp4)" in caplog.text


@pytest.mark.parametrize("code", ["EACCES", "ESTALE", "EIO"])
def test_what_may_not_be_looked_at_is_counted(folder, caplog, monkeypatch, code):
    error = OSError(getattr(__import__("errno"), code), os.strerror(getattr(
        __import__("errno"), code)))  # fmt: skip
    scandir = os.scandir

    class Entry:
        """One whose target cannot be looked at: a stale network file, a forbidden folder."""

        def __init__(self, entry):
            self.name, self.path = entry.name, entry.path
            self.is_symlink, self._entry = entry.is_symlink, entry

        def is_dir(self):
            if self.name == "a.mp4":
                raise error
            return self._entry.is_dir()

        def is_file(self):
            return self._entry.is_file()

    class Scanned(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def scan(path):
        if os.path.basename(path) == "er":
            raise error
        return Scanned(map(Entry, scandir(path)))

    monkeypatch.setattr(os, "scandir", scan)
    assert found(folder) == ["B.MP4"]
    said = error.strerror.lower()
    assert f"not to be opened, {said} (2, such as {folder}/a.mp4)" in caplog.text


def test_as_nobody_a_link_into_a_forbidden_folder_is_named(folder, tmp_path, caplog):
    if os.getuid() != 0:
        pytest.skip("only root may become nobody")
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked/x.mp4").touch()
    (folder / "x.mp4").symlink_to("../locked/x.mp4")
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path != path.parent and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    (tmp_path / "locked").chmod(0o700)
    os.seteuid(65534)
    try:
        names = found(folder)
    finally:
        os.seteuid(0)
    assert names == ["B.MP4", "a.mp4", "deep/er/c.mp4"]
    assert f"not to be opened, permission denied (1, such as {folder}/x.mp4)" in caplog.text
