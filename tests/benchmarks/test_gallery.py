import math

import pytest
import torch

from benchmarks.gallery import Shown, ranked, side_by_side
from movideo.motion.space import Motion


def shown(name, error):
    """A clip whose still is wrong by 0.2 everywhere, and whose video by `error`."""
    truth = torch.full((3, 3, 4, 4), 0.2)
    truth[1] = 0.0
    nothing = torch.zeros(1, 3, 2, 4, 4)
    motion = Motion(torch.zeros(1, 3, 1, 4, 4), nothing, nothing)
    return Shown(name, truth, truth + error, motion, key_index=1, fps=4.0)


def test_a_gain_is_that_of_all_frames_but_the_given_one():
    assert shown("a", 0.1).gain == pytest.approx(20 * math.log10(2), abs=1e-4)
    assert shown("a", 0.4).gain == pytest.approx(-20 * math.log10(2), abs=1e-4)


def test_the_good_and_the_bad_are_shown():
    found = [shown(str(i), error) for i, error in enumerate((0.3, 0.1, 0.5, 0.2, 0.4))]
    names = {place: clip.name for place, clip in ranked(found).items()}
    assert names == {"best": "1", "second": "3", "middle": "0", "worst": "2"}


def test_videos_stand_in_a_row():
    row = side_by_side(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5))
    assert row.shape == (2, 3, 4, 10)
    assert row[0, 0, 0].tolist() == [0.0] * 4 + [1.0] * 2 + [0.5] * 4
