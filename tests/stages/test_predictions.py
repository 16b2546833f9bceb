"""The folder of predictions: what is there is whole, listed, and never mistaken for another's."""

import json

import pytest

from movideo.errors import UserError
from stages.predictions import LIST, PredictionFolder

SETTINGS = {
    "a": {"image": "pics/a\u2028.png", "seed": 0},
    "sub/b": {"image": "pics/b.png", "seed": 0},
}


def rows(folder):
    return [json.loads(line) for line in (folder / LIST).open(encoding="utf-8")]


@pytest.fixture
def folder(tmp_path):
    return PredictionFolder(tmp_path / "out")


def touch(path):
    path.parent.mkdir(exist_ok=True)
    path.touch()


def test_all_that_is_to_be_made_is_listed(folder):
    assert folder.announce(SETTINGS) == []
    assert rows(folder.folder) == [
        {"file": "a.mp4", "image": "pics/a\u2028.png", "seed": 0},
        {"file": "sub/b.mp4", "image": "pics/b.png", "seed": 0},
    ]
    before = (folder.folder / LIST).read_bytes()
    touch(folder.video("sub/b"))
    assert folder.announce(SETTINGS) == ["sub/b"]
    assert (folder.folder / LIST).read_bytes() == before


def test_other_settings_do_not_pass_for_these(folder):
    folder.announce(SETTINGS)
    others = {name: row | {"seed": 1} for name, row in SETTINGS.items()}
    assert folder.announce(others) == []  # nothing is there yet
    folder.announce(SETTINGS)
    before = (folder.folder / LIST).read_bytes()
    touch(folder.video("a"))
    with pytest.raises(UserError, match=r"a\.mp4: made with seed 0, not 1; give another"):
        folder.announce(others)
    assert (folder.folder / LIST).read_bytes() == before
    assert not list(folder.folder.glob(".*"))


def test_what_other_lists_made_stays_listed(folder):
    folder.announce(SETTINGS)
    touch(folder.video("a"))
    folder.announce({"c": {"image": "c.png", "seed": 0}})
    assert [row["file"] for row in rows(folder.folder)] == ["a.mp4", "c.mp4"]


def test_a_strange_list(folder):
    folder.folder.mkdir()
    (folder.folder / LIST).write_text("words\n")
    with pytest.raises(UserError, match="not a list of predictions; move it away"):
        folder.announce(SETTINGS)
