import json
import os

import numpy as np
import pytest

from movideo.clips.clip import Clip, ClipSettings, draw_clips, middle_times, read_clip
from movideo.errors import VideoError
from movideo.storage.digest import content_hash
from movideo.video.read import VideoInfo, probe
from tests.video.files import numbered_frame, read_number, write_frames, write_numbered


def video(times, name="a.mp4"):
    return VideoInfo(path=name, times=tuple(times), width=64, height=64, rotation=0, codec="h264")


def constant(count, fps):
    return video(n / fps for n in range(count))


def shown(info, clip):
    """Indices of the frames on display at the clip's times, found frame by frame."""
    late = 0.001001
    return [max(i for i, at in enumerate(info.times) if at <= time + late) for time in clip.times]


def test_clip_round_trips_through_json_and_its_key_leaves_the_path_out():
    clip = Clip("a.mp4", "ab", 1.25, 7.0, 17, (64, 48), 8)
    again = Clip.from_dict(json.loads(json.dumps(clip.to_dict())))
    assert again == clip
    assert len(clip.key) == 64
    assert Clip("elsewhere.mp4", "ab", 1.25, 7, 17, (64, 48), 8).key == clip.key
    others = [
        Clip("a.mp4", "ac", 1.25, 7.0, 17, (64, 48), 8),
        Clip("a.mp4", "ab", 1.26, 7.0, 17, (64, 48), 8),
        Clip("a.mp4", "ab", 1.25, 7.5, 17, (64, 48), 8),
        Clip("a.mp4", "ab", 1.25, 7.0, 16, (64, 48), 8),
        Clip("a.mp4", "ab", 1.25, 7.0, 17, (48, 64), 8),
        Clip("a.mp4", "ab", 1.25, 7.0, 17, (64, 48), 0),
    ]
    assert len({clip.key, *(other.key for other in others)}) == 7


def test_key_is_stable_across_versions():
    # Shards on disk name their rows by it: a change would orphan every label.
    clip = Clip("a.mp4", "ab", 0.0, 8.0, 17, (64, 64), 8)
    assert clip.key == "4d8ffbb4f193dff7a8acfe80a8b1af84466cc716c5684e78a9a09160f6d3b11d"


@pytest.mark.parametrize("fps", [3, 8, 12.5, 24, 29.97, 30])
@pytest.mark.parametrize("decimals", [9, 3])
def test_a_video_of_exactly_that_many_frames_is_taken_whole(fps, decimals):
    info = video(round(n / fps, decimals) for n in range(17))
    (clip,) = draw_clips(info, "ab", ClipSettings(clips_per_video=3, seed=5))
    assert clip.start == 0.0
    if float(fps).is_integer():
        assert clip.fps == fps
    else:  # a millisecond clock over 0.53 s cannot tell 29.97 from 30
        assert clip.fps == pytest.approx(fps, rel=2e-3 if decimals == 3 else 1e-6)
    assert shown(info, clip) == list(range(17))


def test_clips_are_a_function_of_seed_and_content():
    info = constant(300, 29.97)
    settings = ClipSettings(clips_per_video=8, seed=1)
    clips = draw_clips(info, "ab", settings)
    assert clips == draw_clips(info, "ab", settings)
    assert clips[:3] == draw_clips(info, "ab", ClipSettings(clips_per_video=3, seed=1))
    assert not {c.key for c in clips} & {c.key for c in draw_clips(info, "ac", settings)}
    seed_2 = draw_clips(info, "ab", ClipSettings(clips_per_video=8, seed=2))
    assert not {(c.start, c.fps) for c in clips} & {(c.start, c.fps) for c in seed_2}


def test_what_is_drawn_is_stable_across_versions():
    # Labels and lists on disk are of these clips.
    clips = draw_clips(constant(300, 29.97), "ab", ClipSettings(clips_per_video=3, seed=1))
    assert [(clip.start, clip.fps) for clip in clips] == [
        (7.007007, 18.321687),
        (2.769436, 9.913975),
        (8.141475, 15.867112),
    ]


def test_one_shot_is_drawn_from_like_the_whole_video():
    info = constant(300, 29.97)
    settings = ClipSettings(clips_per_video=8, seed=1)
    shots = [(0.0, info.duration)]
    assert draw_clips(info, "ab", settings, shots) == draw_clips(info, "ab", settings)


def test_no_clip_leaves_its_shot():
    info = constant(300, 25.0)
    shots = [(0.0, 1.96), (2.0, 2.36), (2.4, 8.0), (9.0, 11.96)]  # the third is followed by a gap
    clips = draw_clips(info, "ab", ClipSettings(clips_per_video=200, num_frames=5), shots)
    holding = [
        [
            n
            for n, (start, end) in enumerate(shots)
            if start <= c.start and c.times[-1] <= end + 1e-6
        ]
        for c in clips
    ]
    assert all(len(found) == 1 for found in holding)
    counts = np.bincount([found[0] for found in holding], minlength=4)
    assert counts.min() > 0
    # Every start that fits is as likely: more in longer shots.
    assert counts[2] > counts[3] > counts[0] > counts[1]
    for clip in clips:
        assert len(set(shown(info, clip))) == 5


def test_a_shot_of_exactly_that_many_frames_is_taken_whole():
    info = constant(100, 25.0)
    shots = [(0.0, 0.4), (0.44, 1.08), (1.12, 1.6)]
    (clip,) = draw_clips(info, "ab", ClipSettings(), shots)
    assert (clip.start, clip.fps) == (0.44, 25.0)
    (short,) = draw_clips(info, "ab", ClipSettings(num_frames=1), shots)
    assert any(start <= short.start <= end for start, end in shots)
    message = (
        r"too short: 0\.64 s of 25 fps in the longest of 3 shots give 17 frames at 3 to 30 fps, 18"
    )
    with pytest.raises(VideoError, match=message):
        draw_clips(info, "ab", ClipSettings(num_frames=18), shots)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({}, []),
        ({"num_frames": 0, "key_index": None}, ["num_frames", "key_index"]),
        ({"size": (64, 0)}, ["size"]),
        ({"fps_range": (0, 3)}, ["fps_range"]),
        ({"fps_range": (5, 3)}, ["fps_range"]),
        ({"clips_per_video": 0}, ["clips_per_video"]),
        ({"key_index": 17}, ["key_index"]),
        ({"key_index": -1}, ["key_index"]),
        ({"key_index": 16}, []),
    ],
)
def test_settings_out_of_range_are_named(wrong, names):
    ranges = ClipSettings(**wrong).ranges()
    assert [name for name, (is_right, _) in ranges.items() if not is_right] == names


def test_drawn_clips_stay_in_range_and_never_repeat_a_frame():
    info = constant(600, 24.0)
    clips = draw_clips(info, "ab", ClipSettings(clips_per_video=200, key_index=3))
    rates = np.array([clip.fps for clip in clips])
    assert rates.min() >= 3
    assert rates.max() <= 24
    # Uniform on [3, 24]: mean 13.5, standard error 21 / sqrt(12 * 200) = 0.43; four of them.
    assert abs(rates.mean() - 13.5) < 1.7
    for clip in clips:
        frames = shown(info, clip)
        assert len(set(frames)) == 17
        assert clip.times[-1] <= info.duration + 0.001001
        assert clip.key_index == 3
    assert max(clip.start for clip in clips) > 15


def test_variable_rate_gives_only_distinct_frames():
    random = np.random.default_rng(0)
    info = video(np.concatenate([[0], np.cumsum(random.uniform(0.01, 0.12, 400))]))
    clips = draw_clips(info, "ab", ClipSettings(clips_per_video=30, num_frames=9))
    assert len(clips) == 30
    for clip in clips:
        assert len(set(shown(info, clip))) == 9


def test_frames_that_come_too_irregularly_are_an_error():
    info = video([0, 0.01, 0.02, 0.03, 10.0])
    with pytest.raises(VideoError, match=r"a\.mp4: its frames come too irregularly to give 5"):
        draw_clips(info, "ab", ClipSettings(num_frames=5, fps_range=(0.1, 30)))


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (
            constant(10, 25.0),
            r"0\.36 s of 25 fps give 10 frames at 3 to 30 fps, 17 are needed; ask",
        ),
        (constant(17, 60.0), r"give 9 frames at 3 to 30 fps, 17 are needed"),
        (constant(99, 2.0), r"49\.00 s of 2 fps give 0 frames at 3 to 30 fps"),
        (constant(1, 1.0), r"0\.00 s of 0 fps give 0 frames"),
    ],
)
def test_too_short_says_what_there_is_and_what_is_needed(info, reason):
    with pytest.raises(VideoError, match=r"^a\.mp4: too short: .*" + reason):
        draw_clips(info, "ab", ClipSettings())


def test_one_frame_clips_of_any_video():
    (clip,) = draw_clips(constant(1, 1.0), "ab", ClipSettings(num_frames=1))
    assert (clip.start, clip.num_frames, clip.key_index, clip.times) == (0.0, 1, 0, (0.0,))
    assert 3 <= clip.fps <= 30
    many = draw_clips(constant(50, 25.0), "ab", ClipSettings(num_frames=1, clips_per_video=40))
    assert len({clip.start for clip in many}) > 10


def test_content_hash_sees_size_and_the_first_middle_and_last_mib(tmp_path):
    path = tmp_path / "a"
    base = bytearray(5 << 20)

    def digest(data):
        path.write_bytes(data)
        return content_hash(path)

    digests = {digest(base), digest(base[:-1]), digest(b""), digest(b"x")}
    for offset in (0, (5 << 19), (5 << 20) - 1):
        changed = bytearray(base)
        changed[offset] = 1
        digests.add(digest(changed))
    assert len(digests) == 7
    unseen = bytearray(base)
    unseen[1 << 20] = 1  # between the first and the middle MiB
    assert digest(unseen) == digest(base)
    os.rename(path, tmp_path / "b")
    assert content_hash(tmp_path / "b") == digest(base)
    with pytest.raises(VideoError, match="cannot be read"):
        content_hash(tmp_path / "c")


def test_clip_read_from_file_has_the_frames_drawn(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 120, 25)
    info = probe(path)
    for clip in draw_clips(
        info, content_hash(path), ClipSettings(clips_per_video=4, size=(32, 48))
    ):
        frames = read_clip(clip)
        assert frames.shape == (17, 3, 32, 48)
        assert frames.min() >= -1
        assert frames.max() <= 1
    for clip in draw_clips(info, content_hash(path), ClipSettings(clips_per_video=4)):
        assert [read_number(frame) for frame in read_clip(clip)] == shown(info, clip)


def test_read_clip_never_repeats_a_frame(tmp_path):
    stamps = [0, 1, 2, 3, 40]
    path = write_frames(tmp_path / "a.mp4", [numbered_frame(n) for n in stamps], stamps, 1)
    with pytest.raises(VideoError, match="4 distinct frames where 6 are needed"):
        read_clip(Clip(str(path), "ab", 0.0, 1.0, 6, (64, 64), 3))


def test_the_clip_in_the_middle_is_not_drawn():
    # 10 frames at 10 fps: 4 that follow one another leave 6; at 5 fps they span 7 and leave 4.
    info = constant(10, 10)
    assert middle_times(info, 4) == pytest.approx((0.3, 0.4, 0.5, 0.6))
    assert middle_times(info, 4, 5.0) == pytest.approx((0.1, 0.3, 0.5, 0.7))
    assert middle_times(info, 10) == middle_times(info, 10, 10.0) == pytest.approx(info.times)


def test_no_clip_in_the_middle_would_repeat_a_frame():
    info = constant(10, 10)
    assert middle_times(info, 11) is None
    assert middle_times(info, 6, 5.0) is None  # they would span 11 frames
    assert middle_times(info, 2, 15.0) is None
    # Of frames that come unevenly the ones after one another, but at a rate only distinct ones.
    uneven = video((0.0, 0.1, 0.5, 0.6, 0.7))
    assert middle_times(uneven, 3) == (0.1, 0.5, 0.6)
    assert middle_times(uneven, 3, 10.0) == pytest.approx((0.5, 0.6, 0.7))
