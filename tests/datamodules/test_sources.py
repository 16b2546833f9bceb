"""Sources of clips and their weights."""

import numpy as np
import pytest

from datamodules.sources import ClipSources
from movideo.clips.clip import ClipSettings
from movideo.errors import UserError


def test_a_mapping_gives_each_source_its_share(folder):
    first, second = (str(folder / f"scene_00000{number}.mp4") for number in range(2))
    sources = ClipSources({first: 1, second: 3}, {second: 0.5, first: 2})
    drawn = sources.draw(ClipSettings(num_frames=1, size=(32, 32)))
    assert [{clip.video for clip in clips} for clips in drawn] == [{first}, {second}]
    assert [len(clips) for clips in drawn] == [1, 3]
    assert sources.weight_list == [2, 0.5]


def test_a_source_with_a_weight_needs_training_clips():
    numbers = np.array([0, 0, 2])
    ClipSources(["a", "b", "c"]).check_counts(numbers)
    with pytest.raises(UserError, match=r"data\.weights: no clip of b is left for training"):
        ClipSources(["a", "b", "c"], dict.fromkeys("abc", 1.0)).check_counts(numbers)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1}, "data.weights: nothing for b; give every source a weight"),
        ({"a": 1, "b": 1, "c": 2}, "data.weights: c is not among data.videos"),
        ({"a": 1, "b": 0}, "data.weights: 0 for b"),
        ({"a": -1, "b": 1}, "data.weights: -1 for a"),
        ({"a": 1, "b": float("nan")}, "data.weights: nan for b"),
    ],
)
def test_weights_must_fit_the_sources(weights, message):
    with pytest.raises(UserError, match=message):
        ClipSources(["a", "b"], weights)
