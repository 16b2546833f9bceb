import csv
import json
import sys
import time
from dataclasses import asdict, replace
from importlib.util import find_spec

import pytest

from movideo.clips.clip import Clip, ClipSettings
from movideo.clips.index import index_clips
from movideo.clips.lists.clip_list import (
    ListRow,
    is_clip_list,
    read_clip_list,
    write_clip_list,
)
from movideo.clips.sources import find_videos
from movideo.errors import UserError, VideoError

needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs movideo[index]")
SUFFIXES = [pytest.param(".parquet", marks=needs_pyarrow), ".csv", ".jsonl"]
ROW = ListRow(
    video="a.mp4",
    content_hash="0123456789abcdef" * 4,
    start=1.2,
    fps=7.654321,
    num_frames=17,
    height=64,
    width=48,
    key_index=8,
    duration=9.96,
    frames=250,
    video_fps=25.0,
    variable_rate=False,
    video_height=272,
    video_width=640,
    rotation=90,
    interlaced=False,
    codec="h264",
    cut_short=False,
    shot_start=1.2,
    shot_end=5.44,
    motion=0.125,
    brightness=0.25,
)
CLIP = Clip("a.mp4", "0123456789abcdef" * 4, 1.2, 7.654321, 17, (64, 48), 8)
NO_CLIP = ListRow("text.mp4", reason="not a video, or damaged (Invalid data); remove it")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()  # no list opens a video
    return tmp_path


def write_csv(path, *changes):
    """A list whose rows are `ROW` with cells exchanged for any text."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, asdict(ROW))
        writer.writeheader()
        writer.writerows(asdict(ROW) | change for change in changes)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_list_gives_back_its_clips_and_counts_the_rest(folder, suffix, caplog):
    dark = replace(ROW, start=2.0, reason="black")
    write_clip_list("l" + suffix, [ROW, NO_CLIP, dark, replace(ROW, start=3.0), dark])
    clips = read_clip_list("l" + suffix)
    assert clips == [CLIP, replace(CLIP, start=3.0)]
    assert clips[0].key == CLIP.key
    (record,) = caplog.records
    said = "3 of 5 rows are left out: 2 black; 1 not a video, or damaged"
    assert record.getMessage() == f"l{suffix}: {said}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_rows_give_the_same_bytes(folder, suffix):
    rows = [ROW, NO_CLIP, replace(ROW, video='ü, "quoted"\n.mp4', cut_short=True)]
    for name in ("a", "b"):
        write_clip_list(name + suffix, iter(rows))
    assert (folder / f"a{suffix}").read_bytes() == (folder / f"b{suffix}").read_bytes()


def test_what_other_programs_read(folder):
    write_clip_list("l.csv", [ROW, NO_CLIP])
    header, row, other = (folder / "l.csv").read_text().splitlines()
    assert header == ",".join(asdict(ROW))
    assert row == (
        f"a.mp4,{CLIP.content_hash},1.2,7.654321,17,64,48,8,9.96,250,25.0,false,272,640,90,false,"
        "h264,false,1.2,5.44,0.125,0.25,,1"
    )
    assert other == f'text.mp4{"," * 22}"not a video, or damaged (Invalid data); remove it",1'
    write_clip_list("l.jsonl", [ROW, NO_CLIP])
    lines = (folder / "l.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [asdict(ROW), asdict(NO_CLIP)]


@needs_pyarrow
def test_parquet_has_a_type_for_every_column(folder):
    import pyarrow.parquet as pq

    write_clip_list("l.parquet", [NO_CLIP, ROW])
    table = pq.read_table("l.parquet")
    assert table.to_pylist() == [asdict(NO_CLIP), asdict(ROW)]
    types = {name: str(table.schema.field(name).type) for name in table.schema.names}
    assert types["start"] == "double"
    assert types["key_index"] == types["version"] == "int64"
    assert types["variable_rate"] == "bool"
    assert types["reason"] == "string"


def test_lists_as_other_programs_leave_them(folder):
    # Whole numbers beside empty cells come back as floats, and columns come and go.
    row = {"video": "a.mp4", "content_hash": CLIP.content_hash, "start": 1.2, "fps": 7.654321}
    row |= {"num_frames": 17.0, "height": 64.0, "width": 48.0, "key_index": 8.0, "mine": [1]}
    (folder / "l.jsonl").write_text(
        json.dumps(row | {"reason": float("nan"), "duration": float("nan")}) + "\n\n"
    )
    assert read_clip_list("l.jsonl") == [CLIP]
    write_csv(folder / "l.csv", {"key_index": "8.0", "start": " 1.20 ", "reason": " "})
    text = (folder / "l.csv").read_text()
    (folder / "l.csv").write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8")
    assert read_clip_list("l.csv") == [CLIP]


def test_relative_paths_start_at_the_list(folder, monkeypatch):
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    write_clip_list("../l.csv", [ROW, replace(ROW, video=str(folder / "a.mp4"))])
    clips = read_clip_list("../l.csv")
    assert [clip.video for clip in clips] == ["../a.mp4", str(folder / "a.mp4")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fps": 0}, "fps 0; give a number above 0"),
        ({"fps": "-3"}, "fps -3; give a number above 0"),
        ({"fps": "fast"}, "fps fast; give a number"),
        ({"fps": ""}, "fps is empty; give a number"),
        ({"fps": "nan"}, "fps nan; give a number"),
        ({"start": "inf"}, "start inf; give a number"),
        ({"start": -1}, "start -1; give 0 or more"),
        (
            {"start": 9.0},
            "start 9.0; its last frame at 11.090 s comes after the video ends (duration 9.96)",
        ),
        (
            {"start": 5.0},
            "start 5.0; its last frame at 7.090 s comes after the shot ends (shot_end 5.44)",
        ),
        ({"start": 1.0}, "start 1.0; before the shot begins (shot_start 1.2); raise it"),
        ({"duration": "long"}, "duration long; give a number"),
        ({"num_frames": 0}, "num_frames 0; give a whole number, 1 or more"),
        ({"num_frames": 16.5}, "num_frames 16.5; give a whole number, 1 or more"),
        ({"height": "64px"}, "height 64px; give a number"),
        ({"width": 0}, "width 0; give a whole number, 1 or more"),
        ({"key_index": 17}, "key_index 17; give a whole number, 0 to 16"),
        ({"key_index": -1}, "key_index -1; give a whole number, 0 to 16"),
        ({"content_hash": ""}, "content_hash is empty; fill it in or remove the row"),
        ({"content_hash": "1.2E+63"}, "content_hash 1.2E+63; 64 hexadecimal digits"),
        ({"version": 2}, "version 2; this movideo reads version 1; index again"),
        ({"video": ""}, "video is empty; fill it in or remove the row"),
        ({"video": "b.mp4"}, "video b.mp4; no such file"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_column(folder, change, says):
    write_csv(folder / "l.csv", {}, {"start": 2.0, "reason": "black", "fps": "any"}, change)
    with pytest.raises(VideoError) as error:
        read_clip_list("l.csv")
    assert str(error.value).startswith(f"l.csv:4: {says}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fps": "7.5"}, None),
        ({"fps": True}, "fps True; give a number"),
        ({"fps": [7]}, "fps [7]; give a number"),
        ({"video": 3}, "video 3; give text"),
        ({"reason": 3}, "reason 3; give text"),
    ],
)
def test_types_in_json_lines(folder, change, says):
    (folder / "l.jsonl").write_text(json.dumps(asdict(ROW) | change) + "\n")
    if says is None:
        assert read_clip_list("l.jsonl") == [replace(CLIP, fps=7.5)]
        return
    with pytest.raises(VideoError) as error:
        read_clip_list("l.jsonl")
    assert str(error.value) == f"l.jsonl:1: {says}"


@needs_pyarrow
def test_a_bad_row_of_parquet_is_named_by_its_number(folder):
    write_clip_list("l.parquet", [ROW, NO_CLIP, replace(ROW, fps=0.0)])
    with pytest.raises(VideoError, match=r"^l\.parquet: row 3: fps 0\.0; give a number above 0$"):
        read_clip_list("l.parquet")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("l.csv", "video,start\na.mp4,1\n", "l.csv: no column content_hash; a list of clips needs"),
        ("l.csv", "HEADER\nROW,more\n", "l.csv:2: more values than columns; quote commas"),
        ("l.csv", "HEADER\n", "l.csv: no row to use, it is empty; "),
        ("l.csv", "HEADER\nDARK\n", "l.csv: no row to use, all 1 are left out (1 black); "),
        ("l.jsonl", '{"start": 1}\n', "l.jsonl: no column video; a list of clips needs"),
        ("l.jsonl", "JSON\n[1]\n", "l.jsonl:2: not JSON; write one object a line"),
        ("l.jsonl", "JSON\nJSON}\n", "l.jsonl:2: not JSON; write one object a line"),
    ],
)
def test_a_bad_list(folder, name, text, says):
    write_csv(folder / "row.csv", {}, {"reason": "black"})
    header, row, dark = (folder / "row.csv").read_text().splitlines()
    text = text.replace("HEADER", header).replace("ROW", row).replace("DARK", dark)
    (folder / name).write_text(text.replace("JSON", json.dumps(asdict(ROW))))
    with pytest.raises(VideoError) as error:
        index_clips(name, ClipSettings(size=(64, 48)))
    assert str(error.value).startswith(says)


def test_a_list_that_is_not_text(folder):
    write_csv(folder / "l.csv", *[{}] * 200)
    with open("l.csv", "ab") as file:
        file.write(b"\xff\n")
    with pytest.raises(
        VideoError, match=r"^l\.csv:1\d\d: cannot be read as text; save it in UTF-8"
    ):
        index_clips("l.csv", ClipSettings())
    (folder / "l.csv").write_bytes(b"video,start\n\xff,1\n")
    with pytest.raises(VideoError, match=r"^l\.csv:1: cannot be read as text"):
        index_clips("l.csv", ClipSettings())


@needs_pyarrow
def test_a_damaged_parquet_file(folder):
    (folder / "l.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(VideoError, match=r"l\.parquet: not a Parquet file, or damaged"):
        read_clip_list("l.parquet")


def test_what_is_a_list_of_clips(folder):
    (folder / "v.csv").write_text("video\na.mp4\n")
    (folder / "v.jsonl").write_text('{"video": "a.mp4"}\n')
    (folder / "w.csv").write_bytes(b"\xff\xfe")
    (folder / "empty.jsonl").touch()
    write_csv(folder / "l.csv", {})
    write_clip_list("l.jsonl", [ROW])
    lists = [path.name for path in folder.iterdir() if is_clip_list(path)]
    assert sorted(lists) == ["l.csv", "l.jsonl"]
    for names in ("l.csv", ["l.jsonl", "v.csv"]):
        assert [str(path) for path in find_videos(names)] == ["a.mp4"]


def test_without_pyarrow_only_parquet_is_refused(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for suffix in (".csv", ".jsonl"):
        write_clip_list("l" + suffix, [ROW])
        assert read_clip_list("l" + suffix) == [CLIP]
    message = r"l\.parquet: Parquet needs pyarrow; run: pip install 'movideo\[index\]'"
    with pytest.raises(UserError, match=message):
        write_clip_list("l.parquet", [ROW])
    (folder / "l.parquet").touch()
    with pytest.raises(UserError, match=message):
        read_clip_list("l.parquet")
    assert not list(folder.glob(".*"))


def test_another_suffix(folder):
    with pytest.raises(UserError, match=r"l\.txt: no format of that suffix; end it in \.parquet"):
        write_clip_list("l.txt", [ROW])


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Rows of ten thousand files."""
    folder = tmp_path_factory.mktemp("many")
    rows = []
    for number in range(10_000):
        (folder / f"{number}.mp4").touch()
        rows.append(replace(ROW, video=f"{number}.mp4", content_hash=f"{number:064x}"))
    return folder, rows


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ten_thousand_rows_are_read_in_under_a_second(many, suffix):
    folder, rows = many
    path = folder / f"l{suffix}"
    write_clip_list(path, rows)
    is_clip_list(path)  # imports pyarrow, once a process
    start = time.process_time()
    clips = index_clips(path, ClipSettings(size=(64, 48))).clips
    assert time.process_time() - start < 1.0  # 0.4 s on one slow core
    assert len(clips) == 10_000
    assert clips[-1].video == str(folder / "9999.mp4")
