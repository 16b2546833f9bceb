import json
import os

import pytest

from movideo.clips.key_frames import list_prompts
from movideo.clips.lists.clip_list import ListRow, write_clip_list
from movideo.clips.sources import find_videos, walk_videos
from movideo.errors import VideoError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "a.MKV", "notes.txt", "deep/er/c.webm", ".hidden.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "videos" / "folder.mp4").mkdir()
    return tmp_path / "videos"


def test_folder_is_searched_with_its_subfolders_and_sorted(folder):
    expected = [folder / "a.MKV", folder / "b.mp4", folder / "deep/er/c.webm"]
    assert find_videos(folder) == expected
    assert find_videos(str(folder)) == expected


def test_file_and_sequence(folder):
    assert find_videos(folder / "b.mp4") == [folder / "b.mp4"]
    named = [folder / "b.mp4", str(folder), folder / "deep"]
    assert find_videos(named) == [folder / "b.mp4", folder / "a.MKV", folder / "deep/er/c.webm"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "# mine\n\nvideos/b.mp4\n  videos/deep/er/c.webm  \n"),
        ("l.csv", "id,video\n1,videos/b.mp4\n2,videos/deep/er/c.webm\n"),
        ("l.csv", "file,label\nvideos/b.mp4,1\nvideos/deep/er/c.webm,2\n"),
        ("l.csv", "videos/b.mp4\nvideos/deep/er/c.webm\n"),
        ("l.csv", '\ufeffvideo\n"videos/b.mp4"\nvideos/deep/er/c.webm\n'),
        ("l.jsonl", '{"video": "videos/b.mp4"}\n\n{"video": "videos/deep/er/c.webm", "x": 1}\n'),
    ],
)
def test_lists_name_videos_beside_themselves(folder, monkeypatch, name, text):
    path = folder.parent / name
    path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)  # not where the paths start
    assert find_videos(path) == [folder / "b.mp4", folder / "deep/er/c.webm"]


def test_absolute_paths_in_a_list(folder, tmp_path):
    path = tmp_path / "elsewhere" / "l.txt"
    path.parent.mkdir()
    path.write_text(str(folder / "b.mp4"))
    assert find_videos(path, allow_outside=True) == [folder / "b.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "# a\nvideos/b.mp4\nvideos/x.mp4\n", r"l\.txt:3: no such file videos/x\.mp4"),
        ("l.csv", "video\nvideos/b.mp4\nnope.mp4\n", r"l\.csv:3: no such file nope\.mp4"),
        ("l.csv", "id,video\n1\n", r"l\.csv:2: names no video"),
        ("l.csv", "path,text\nvideos/b,a dog\n", r"l\.csv: no column video; .*: path, text"),
        ("l.csv", "text,path\na dog,videos/b.mp4\n", r"l\.csv: no column video; .*: text, path"),
        ("l.csv", "id\tvideo\n1\tvideos/b.mp4\n", r"l\.csv:2: no such file 1"),
        ("l.json", '["videos/b.mp4"]', r"l\.json: lists are read as \.txt, \.csv or \.jsonl"),
        ("l.tsv", "video\nvideos/b.mp4\n", r"l\.tsv: lists are read as"),
        ("l.csv", "", r"l\.csv: the list names no video"),
        (
            "l.jsonl",
            '{"video": "videos/b.mp4"}\n{"path": 1}\n',
            r"l\.jsonl:2: no column video; rename .*: path",
        ),
        ("l.jsonl", "[1]\n", r"l\.jsonl:1: not JSON; write one object"),
        ("l.jsonl", "{video}\n", r"l\.jsonl:1: not JSON"),
        ("l.txt", "# nothing\n", r"l\.txt: the list names no video"),
    ],
)
def test_faulty_lists_name_file_and_line(folder, name, text, message):
    path = folder.parent / name
    path.write_text(text)
    with pytest.raises(VideoError, match=message):
        find_videos(path)


def test_list_that_is_not_text(tmp_path):
    (tmp_path / "l.txt").write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(VideoError, match="cannot be read as text"):
        find_videos(tmp_path / "l.txt")


def test_missing_and_empty(tmp_path):
    with pytest.raises(VideoError, match=r"nowhere: no such file or folder"):
        find_videos(tmp_path / "nowhere")
    with pytest.raises(VideoError, match=r"no video in this folder; put files ending in"):
        find_videos(tmp_path)
    with pytest.raises(VideoError, match="no videos named"):
        find_videos([])


def test_the_walk_is_lazy_and_sorted(folder, monkeypatch):
    for name in ("deep/er.mp4", "deep.mp4", "deep-er/a.mp4", "Z.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "linked.mp4").symlink_to(folder / "b.mp4")
    expected = sorted(
        path for path in folder.rglob("*.*")
        if path.suffix.lower() in (".mp4", ".mkv", ".webm") and path.name[0] != "."
        and path.is_file()
    )  # fmt: skip
    assert find_videos(folder) == expected
    scanned = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(path) or scandir(path))
    walk = walk_videos(folder)
    assert next(walk).name == "Z.mp4"
    assert scanned == [str(folder)]
    assert [path.name for path in walk] == [path.name for path in expected[1:]]


def test_a_list_of_clips_names_the_videos_of_its_rows(folder):
    clip = ("0" * 64, 0.0, 12.5, 17, 64, 64, 8)
    rows = [ListRow("videos/b.mp4", *clip), ListRow("videos/b.mp4", *clip)]
    write_clip_list(folder.parent / "l.csv", [*rows, ListRow("gone.mp4", reason="empty file")])
    assert find_videos(folder.parent / "l.csv") == [folder / "b.mp4"]
    write_clip_list(folder.parent / "l.jsonl", [ListRow("videos/gone.mp4", *clip)])
    with pytest.raises(VideoError, match=r"l\.jsonl:1: video .*gone\.mp4; no such file"):
        find_videos(folder.parent / "l.jsonl")


# Unicode counts these as line ends; captions hold them, and lists must not split there.
BREAKS = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e")


@pytest.mark.parametrize("mark", BREAKS, ids=[f"U+{ord(mark):04X}" for mark in BREAKS])
def test_a_caption_is_one_row_whatever_it_holds(tmp_path, mark):
    names = ["a.mp4", "b.mp4"]
    for name in names:
        (tmp_path / name).touch()
    caption = f"He speaks.{mark}Then he leaves."
    rows = [json.dumps({"video": name, "caption": caption}, ensure_ascii=False) for name in names]
    texts = {
        "l.jsonl": "\n".join(rows),
        "l.csv": "\r\n".join(["video,caption", *(f"{name},{caption}" for name in names)]),
        "quoted.csv": "\n".join(["caption,video", *(f'"{caption}\nEnd",{name}' for name in names)]),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
        found = find_videos(tmp_path / name)
        assert [path.name for path in found] == names
    prompts = [f"A fox runs.{mark}It stops.", "A cat"]
    text = "\ufeff{}\r\n\n# a comment\n{}\n".format(*prompts)
    (tmp_path / "p.txt").write_bytes(text.encode())
    assert list(list_prompts(tmp_path / "p.txt").values()) == prompts


@pytest.mark.parametrize(
    "rows",
    [
        ['b.mp4,"a 5 inch screen', 'c.mp4,"three"', "d.mp4,four"],  # it ends in another row
        ['b.mp4,"a 5 inch screen', "c.mp4,three", "d.mp4,four"],  # it ends with the file
        ['b.mp4,"one" and two', "c.mp4,three"],
    ],
)
def test_a_quote_that_would_swallow_rows_is_refused(tmp_path, rows):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "l.csv").write_text("\n".join(["video,prompt", "a.mp4,one", *rows]))
    for read in (find_videos, list_prompts):
        with pytest.raises(VideoError, match=r"l\.csv:\d: not CSV \(.*\); close each quote"):
            read(tmp_path / "l.csv")


def test_a_very_long_caption_is_named(tmp_path):
    (tmp_path / "l.csv").write_text(f"video,caption\na.mp4,{'x' * 200_000}\n")
    with pytest.raises(VideoError, match=r"l\.csv:2: not CSV \(field larger than field limit"):
        find_videos(tmp_path / "l.csv")
