"""Packed clips are the clips that went in."""

import pickle

import pytest

from datamodules.packed_clips import PackedClips
from tests.datamodules.conftest import clip

CLIPS = [clip(video, start=video / 3, fps=10 / (video + 3)) for video in range(5)]


def test_what_goes_in_comes_out():
    packed = PackedClips(CLIPS)
    assert list(packed) == CLIPS
    assert [packed[index] for index in (3, 0, -1)] == [CLIPS[index] for index in (3, 0, -1)]
    assert packed[1::2] == CLIPS[1::2]
    assert list(pickle.loads(pickle.dumps(packed))) == CLIPS
    assert len(PackedClips([])) == 0
    with pytest.raises(IndexError):
        packed[5]
