"""Videos to training, validation and test sets."""

from itertools import pairwise

from datamodules.split import split_by_video
from tests.datamodules.conftest import clip


def split(clips, fractions, seed=0):
    return {part: clips for part, (clips,) in split_by_video([clips], fractions, seed).items()}


def test_no_video_is_in_two_parts():
    clips = [clip(video, start) for video in range(40) for start in (0.0, 1.0)]
    parts = split(clips, {"val": 0.1, "test": 0.2})
    sizes = {name: len({c.video for c in part}) for name, part in parts.items()}
    assert sizes == {"train": 28, "val": 4, "test": 8}
    assert sum(map(len, parts.values())) == len(clips)
    renamed = [type(c)(**{**vars(c), "video": f"elsewhere/{c.video}"}) for c in clips]
    again = split(renamed[::-1], {"val": 0.1, "test": 0.2})
    assert {c.key for c in again["val"]} == {c.key for c in parts["val"]}
    assert split(clips, {"val": 0.1, "test": 0.2}, seed=1) != parts


def test_one_more_video_moves_at_most_one_out_of_each_part():
    fractions = {"val": 0.1, "test": 0.2}
    splits = [split([clip(v) for v in range(n)], fractions) for n in range(5, 60)]
    for before, after in pairwise(splits):
        for name in fractions:
            assert len(set(before[name]) - set(after[name])) <= 1
    train_to_held_out = [
        set(before["train"]) - set(after["train"]) for before, after in pairwise(splits)
    ]
    assert max(map(len, train_to_held_out)) <= 2  # one for each share that grew


def test_sources_stay_apart_but_are_split_together():
    clips = [clip(video) for video in range(40)]
    together = split(clips, {"val": 0.25})
    apart = split_by_video([clips[:10], clips[10:]], {"val": 0.25}, seed=0)
    for part, sources in apart.items():
        assert [c for clips in sources for c in clips] == together[part]
        assert all(int(c.content_hash) < 10 for c in sources[0])
