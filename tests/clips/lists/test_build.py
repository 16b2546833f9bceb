import errno
import os
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from movideo.clips.clip import Clip, ClipSettings, draw_clips, read_clip
from movideo.clips.index import index_clips
from movideo.clips.lists import build as module
from movideo.clips.lists import journal
from movideo.clips.lists.build import build_index
from movideo.clips.lists.clip_list import ListRow, read_clip_list
from movideo.clips.lists.rows import IndexSettings, describe_video
from movideo.errors import UserError, VideoError
from movideo.scenes.render import render_scene
from movideo.storage.digest import content_hash
from movideo.storage.tables import read_table
from movideo.video.decoding.pixels import to_bytes
from movideo.video.read import probe
from movideo.video.write import write_mp4
from tests.video.files import write_audio, write_frames, write_numbered

pytest.importorskip("scenedetect")

SETTINGS = IndexSettings(ClipSettings(num_frames=5, size=(32, 48), clips_per_video=2, seed=3))


def rows_of(path):
    """Cells by file name, of a list that has one row a video."""
    return {Path(row["video"]).name: row for _, row in read_table(path, ())}


def scene(seed, num_frames):
    return render_scene(seed, num_frames, fps=25).video


def write_scene(path, num_frames, stamps=None, seed=0):
    """One moving shot at 25 frames per second, or at given multiples of 1/25 s."""
    frames = list(to_bytes(scene(seed, num_frames)))
    return write_frames(path, frames, stamps or range(num_frames), Fraction(1, 25))


def test_the_rows_of_a_video_hold_its_clips_and_facts(tmp_path):
    path = str(write_scene(tmp_path / "a.mp4", 40))
    clips = draw_clips(probe(path), content_hash(path), SETTINGS.clips)
    rows = describe_video(path, SETTINGS)
    assert [(row.start, row.fps) for row in rows] == [(clip.start, clip.fps) for clip in clips]
    for row in rows:
        assert row.content_hash == content_hash(path)
        assert (row.num_frames, row.height, row.width, row.key_index) == (5, 32, 48, 2)
        assert (row.duration, row.frames, row.video_fps) == (1.56, 40, 25.0)
        assert (row.variable_rate, row.cut_short, row.rotation) == (False, False, 0)
        assert (row.video_height, row.video_width, row.codec) == (64, 64, "h264")
        assert row.reason is None
    stamps = [0, 1, 2, 5, 9, 10, 11, 15, 17, 20]
    (row, *_) = describe_video(str(write_scene(tmp_path / "v.mp4", 10, stamps)), SETTINGS)
    assert row.variable_rate
    assert row.video_fps == 11.25  # 9 steps in 0.8 s


def test_no_clip_crosses_a_cut(tmp_path):
    lengths = [14, 31, 8, 22]
    path = tmp_path / "a.mp4"
    write_mp4(path, torch.cat([scene(seed, length) for seed, length in enumerate(lengths)]), 25)
    cuts = [0.56, 1.8, 2.12]
    rows = describe_video(str(path), IndexSettings(ClipSettings(5, clips_per_video=60)))
    shots = {(row.shot_start, row.shot_end) for row in rows}
    assert shots >= {(0.0, 0.52), (0.56, 1.76), (2.12, 2.96)}
    for row in rows:
        last = row.start + 4 / row.fps
        assert not any(row.start < cut - 0.0015 < last for cut in cuts)
        assert row.shot_start <= row.start + 1e-6
        assert last <= row.shot_end + 0.0011
    # Without shots most of these draws would cross one.
    free = draw_clips(probe(path), "ab", ClipSettings(5, clips_per_video=60))
    assert sum(any(c.times[0] < cut < c.times[-1] for cut in cuts) for c in free) > 20


def test_static_and_black_clips_are_flagged(tmp_path):
    picture = scene(0, 1)
    write_mp4(tmp_path / "still.mp4", picture.expand(20, -1, -1, -1), 25)
    write_mp4(tmp_path / "dark.mp4", 0.03 * (scene(1, 20) + 1) - 1, 25)
    write_mp4(tmp_path / "good.mp4", scene(2, 20), 25)
    reasons = {
        name: {row.reason for row in describe_video(str(tmp_path / f"{name}.mp4"), SETTINGS)}
        for name in ("still", "dark", "good")
    }
    assert reasons == {"still": {"static"}, "dark": {"black"}, "good": {None}}
    lenient = IndexSettings(SETTINGS.clips, min_motion=0.0, min_brightness=0.0)
    for name in ("still", "dark"):
        assert {row.reason for row in describe_video(str(tmp_path / f"{name}.mp4"), lenient)} == {
            None
        }


def test_a_file_that_is_cut_short_gives_the_clips_before_the_cut(tmp_path):
    whole = write_scene(tmp_path / "a.mkv", 100).read_bytes()
    path = tmp_path / "half.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    end = probe(path).duration
    rows = describe_video(str(path), SETTINGS)
    assert {row.reason for row in rows} == {None}
    assert all(row.cut_short and row.duration == end < 3.9 for row in rows)
    assert all(row.start + 4 / row.fps <= end + 0.0011 for row in rows)
    (row,) = describe_video(str(path), IndexSettings(ClipSettings(num_frames=90)))
    assert row.reason.startswith("cut short: too short: ")
    assert row.start is None


def test_a_file_with_damage_in_the_middle_gives_the_clips_before_it(tmp_path):
    path = write_scene(tmp_path / "a.mp4", 100)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 800] = bytes(800)
    path.write_bytes(data)
    assert probe(path).duration == 3.96
    (row, *_) = rows = describe_video(str(path), SETTINGS)
    assert row.cut_short
    assert 0.5 < row.duration < 3.5
    assert row.frames == round(25 * row.duration) + 1
    assert row.shot_end == row.duration
    for row in rows:
        assert row.reason is None
        assert row.start + 4 / row.fps <= row.duration + 0.0011
        read_clip(Clip(row.video, "ab", row.start, row.fps, 5, (32, 48), 2))


def test_files_without_clips_keep_a_row_with_what_is_known(tmp_path):
    write_numbered(tmp_path / "short.mp4", 3, 25)
    write_audio(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("words")
    (row,) = describe_video(str(tmp_path / "short.mp4"), SETTINGS)
    assert row.reason.startswith("too short: 0.08 s of 25 fps give 3 frames")
    assert (row.start, row.num_frames, row.frames, row.codec) == (None, None, 3, "h264")
    (row,) = describe_video(str(tmp_path / "sound.mp4"), SETTINGS)
    assert row.reason.startswith("no video stream; ")
    assert (row.codec, row.content_hash) == (None, content_hash(tmp_path / "sound.mp4"))
    (row,) = describe_video(str(tmp_path / "text.mp4"), SETTINGS)
    assert row.reason.startswith("not a video")
    (row,) = describe_video(str(tmp_path / "none.mp4"), SETTINGS)
    assert row == ListRow(str(tmp_path / "none.mp4"), reason=row.reason)
    assert row.reason.startswith("cannot be read")
    (row,) = describe_video("/x/\udcff.mp4", SETTINGS)
    assert row == ListRow("/x/\\xff.mp4", reason="its name is not UTF-8; rename it")


def test_an_unforeseen_error_is_a_reason(tmp_path, monkeypatch):
    def fail(path):
        raise ZeroDivisionError("rate")

    path = str(write_numbered(tmp_path / "a.mp4", 30, 25))
    monkeypatch.setattr("movideo.clips.lists.rows.probe", fail)
    (row,) = describe_video(path, SETTINGS)
    assert row.reason == "unexpected error: ZeroDivisionError rate"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("b", "a", "deep/c")):
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_scene(path, 30 + number)
    (tmp_path / "videos" / "text.mp4").write_text("words")
    return tmp_path


def test_a_list_is_relative_to_its_folder_and_says_each_content_once(folder):
    shutil.copy("videos/b.mp4", "videos/deep/z.mp4")
    elsewhere = folder / "lists"
    one = IndexSettings(ClipSettings(num_frames=5))
    counts = build_index("videos", "l.csv", one, workers=1)
    rows = rows_of(folder / "l.csv")
    assert [row["video"] for row in rows.values()] == [
        f"videos/{name}.mp4" for name in ("a", "b", "deep/c", "deep/z", "text")
    ]
    assert rows["z.mp4"]["reason"] == "duplicate: same content as videos/b.mp4"
    assert rows["z.mp4"]["start"] == rows["z.mp4"]["motion"] == rows["z.mp4"]["num_frames"] == ""
    assert rows["z.mp4"]["frames"] == "30"
    assert (counts.videos, counts.clips) == (5, 3)
    assert counts.left_out == {"duplicate": 1, "not a video, or damaged": 1}

    build_index(["videos/deep", "videos", "videos/a.mp4"], elsewhere / "l.csv", one, workers=1)
    videos = [row["video"] for _, row in read_table(elsewhere / "l.csv", ())]
    assert videos == [
        str(folder / "videos" / f"{name}.mp4") for name in ("deep/c", "deep/z", "a", "b", "text")
    ]


def test_the_clips_are_those_of_the_same_videos_without_a_list(folder):
    build_index("videos", "l.jsonl", SETTINGS, workers=1)
    listed = read_clip_list("l.jsonl")
    assert len(listed) == 6
    assert listed == index_clips("videos", SETTINGS.clips).clips


def calls(monkeypatch, dies_after=None):
    """Names of the files described from now on."""
    described = []

    def describe(path, settings):
        if len(described) == dies_after:
            raise KeyboardInterrupt
        described.append(os.path.basename(path))
        return describe_video(path, settings)

    monkeypatch.setattr(module, "describe_video", describe)
    return described


def test_a_run_goes_on_where_it_was_stopped(folder, monkeypatch):
    build_index("videos", "whole.csv", SETTINGS, workers=1)
    calls(monkeypatch, dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        build_index("videos", "l.csv", SETTINGS, workers=1)
    assert [path.name for path in folder.iterdir() if "l.csv" in path.name] == [".l.csv.journal"]
    write_scene(folder / "videos" / "a.mp4", 33)  # finished, and changed since
    described = calls(monkeypatch)
    build_index("videos", "l.csv", SETTINGS, workers=1)
    assert described == ["a.mp4", "c.mp4", "text.mp4"]
    fresh = calls(monkeypatch)
    build_index("videos", "fresh.csv", SETTINGS, workers=1)
    assert len(fresh) == 4
    assert (folder / "l.csv").read_bytes() == (folder / "fresh.csv").read_bytes()
    assert (folder / "l.csv").read_bytes() != (folder / "whole.csv").read_bytes()


def test_other_settings_do_not_go_on_with_it(folder, monkeypatch):
    calls(monkeypatch, dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        build_index("videos", "l.csv", SETTINGS, workers=1)
    described = calls(monkeypatch)
    build_index("videos", "l.csv", IndexSettings(SETTINGS.clips, min_motion=0.5), workers=1)
    assert len(described) == 4
    assert rows_of(folder / "l.csv")["a.mp4"]["reason"] == "static"


def test_a_list_is_never_written_over(folder):
    (folder / "l.csv").write_text("edited by hand")
    with pytest.raises(UserError, match=r"^l\.csv: exists already; name another list"):
        build_index("videos", "l.csv", SETTINGS, workers=1)
    assert (folder / "l.csv").read_text() == "edited by hand"


def test_a_finished_run_that_is_started_again_has_nothing_to_do(folder, monkeypatch):
    def again(videos=("videos",), settings=SETTINGS):
        return build_index(videos, "l.csv", settings, workers=1)

    assert again().videos == 4
    content = (folder / "l.csv").read_bytes()
    described = calls(monkeypatch)
    assert again() is None
    assert not described
    for other in (
        {"videos": ("videos", "videos/deep")},
        {"settings": IndexSettings(SETTINGS.clips, min_motion=0.5)},
    ):
        with pytest.raises(UserError, match="exists already"):
            again(**other)
    (folder / "l.csv").write_bytes(content + b"edited,by,hand")
    with pytest.raises(UserError, match="exists already"):
        again()
    (folder / "l.csv").unlink()
    assert again().videos == 4
    assert (folder / "l.csv").read_bytes() == content


def test_what_links_lead_out_of_the_folder_is_counted(folder):
    (folder / "blobs").mkdir()
    (folder / "videos/b.mp4").rename(folder / "blobs/0011")
    (folder / "videos/b.mp4").symlink_to("../blobs/0011")
    counts = build_index("videos", "videos/l.csv", SETTINGS, workers=1)
    assert counts.outside == 2  # clips of one video
    with pytest.raises(VideoError, match="pass allow_outside"):
        read_clip_list("videos/l.csv")


def test_a_full_disk_ends_the_run_in_one_line(folder, monkeypatch):
    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def flush(self):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def open_full(*arguments):
        return Full(open(*arguments))

    monkeypatch.setattr(journal, "open", open_full, raising=False)
    with pytest.raises(UserError, match=r"^\.l\.csv\.journal: cannot be written \(Disk quota"):
        build_index("videos", "l.csv", SETTINGS, workers=1)
    assert not (folder / "l.csv").exists()


def test_nothing_to_list(folder):
    (folder / "empty").mkdir()
    for name in ("empty", "nowhere"):
        with pytest.raises(VideoError, match=rf"^{name}: no "):
            build_index(name, "l.csv", SETTINGS, workers=1)
    assert sorted(path.name for path in folder.iterdir()) == ["empty", "videos"]
