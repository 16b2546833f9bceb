import shutil
from dataclasses import replace

import pytest

from movideo.clips.clip import Clip, ClipSettings
from movideo.clips.index import index_clips
from movideo.clips.lists.clip_list import ListRow, write_clip_list
from movideo.errors import VideoError
from movideo.storage.digest import content_hash
from tests.video.files import write_audio, write_numbered


@pytest.fixture
def folder(tmp_path):
    write_numbered(tmp_path / "a.mp4", 40, 25)
    write_numbered(tmp_path / "b.mp4", 60, 25)
    write_numbered(tmp_path / "short.mp4", 5, 25)
    write_audio(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("words")
    (tmp_path / "zero.mp4").touch()
    shutil.copy(tmp_path / "a.mp4", tmp_path / "copy.mp4")
    return tmp_path


def test_broken_videos_are_skipped_counted_and_listed(folder, caplog):
    index = index_clips(folder, ClipSettings(clips_per_video=2))
    assert [clip.video for clip in index.clips] == [
        *[str(folder / "a.mp4")] * 2,
        *[str(folder / "b.mp4")] * 2,
    ]
    reasons = {
        "copy.mp4": f"same content as {folder / 'a.mp4'}",
        "short.mp4": "too short: 0.16 s of 25 fps give 5 frames",
        "sound.mp4": "no video stream",
        "text.mp4": "not a video",
        "zero.mp4": "empty file",
    }
    assert set(index.skipped) == {str(folder / name) for name in reasons}
    for name, reason in reasons.items():
        assert index.skipped[str(folder / name)].startswith(reason)
    (record,) = caplog.records
    lines = record.getMessage().splitlines()
    assert lines[0] == "skipped 5 of 7 videos:"
    assert len(lines) == 6
    assert lines[1].startswith(f"  {folder / 'copy.mp4'}: same content")


def test_clips_do_not_depend_on_the_neighbours(folder):
    settings = ClipSettings(clips_per_video=3, seed=4)
    alone = index_clips(folder / "b.mp4", settings).clips
    assert alone == index_clips(folder, settings).clips[-3:]


def test_nothing_left_tells_the_first_reason(folder):
    broken = [folder / name for name in ("zero.mp4", "text.mp4", "sound.mp4")]
    with pytest.raises(VideoError, match=r"zero\.mp4: empty file.* \(and 2 more, none usable\)$"):
        index_clips(broken, ClipSettings())
    with pytest.raises(VideoError, match=r"short\.mp4: too short"):
        index_clips(folder / "short.mp4", ClipSettings())


def listed(video, content="0" * 64, **changes):
    row = ListRow(str(video), content, 0.2, 12.5, 17, 64, 64, 8)
    return replace(row, **changes)


def test_lists_of_clips_stand_beside_videos(folder):
    text = folder / "text.mp4"  # never opened
    content = content_hash(folder / "b.mp4")
    rows = [listed("text.mp4"), listed("b.mp4", content), listed("zero.mp4", reason="static")]
    write_clip_list(folder / "l.csv", rows)
    expected = [
        Clip(str(text), "0" * 64, 0.2, 12.5, 17, (64, 64), 8),
        Clip(str(folder / "b.mp4"), content, 0.2, 12.5, 17, (64, 64), 8),
    ]
    alone = index_clips(folder / "l.csv", ClipSettings())
    assert alone.clips == expected
    assert alone.skipped == {}
    named = [folder / "a.mp4", folder / "l.csv", folder / "b.mp4"]
    both = index_clips(named, ClipSettings(clips_per_video=2))
    assert both.clips[:2] == expected
    assert [clip.video for clip in both.clips[2:]] == [str(folder / "a.mp4")] * 2
    assert both.skipped == {str(folder / "b.mp4"): f"same content as {folder / 'b.mp4'}"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"num_frames": 9}, "num_frames of its clips is 17, not 9; set data.num_frames to that"),
        ({"size": (64, 32)}, r"size of its clips is \(64, 64\), not \(64, 32\); set data.size"),
        ({"key_index": 0}, "key_index of its clips is 8, not 0; set data.key_index"),
    ],
)
def test_a_list_of_other_clips_says_what_to_set(folder, settings, says):
    write_clip_list(folder / "l.jsonl", [listed("a.mp4")])
    with pytest.raises(VideoError, match=rf"l\.jsonl: {says}"):
        index_clips(folder / "l.jsonl", ClipSettings(**settings))
    other = ClipSettings(fps_range=(1, 2), clips_per_video=7, seed=5)  # matter to drawing alone
    assert len(index_clips(folder / "l.jsonl", other).clips) == 1
