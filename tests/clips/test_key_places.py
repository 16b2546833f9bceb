import pytest

from movideo.clips.clip import Clip
from movideo.clips.key_places import KeyFramePlaces, place_key_frame
from movideo.errors import UserError

FRAMES = 10


def counts(places, clips=20_000):
    found = [0] * FRAMES
    for name in range(clips):
        found[places.draw(FRAMES, str(name))] += 1
    return [count / clips for count in found]


def test_shares_are_the_probabilities():
    shares = counts(KeyFramePlaces(center=0.4, first=0.3))
    # Any of ten frames has 3% more. The deviation of a share of 0.43 over 20,000 draws is 0.0035.
    expected = [0.33] + [0.03] * 4 + [0.43] + [0.03] * 4
    assert shares == pytest.approx(expected, abs=0.015)


def test_the_centre_alone_and_anywhere_alone():
    assert counts(KeyFramePlaces(center=1, first=0), 100)[FRAMES // 2] == 1
    assert counts(KeyFramePlaces(center=0, first=1), 100)[0] == 1
    assert counts(KeyFramePlaces(center=0, first=0)) == pytest.approx([0.1] * FRAMES, abs=0.01)
    assert [KeyFramePlaces(center=c, first=0).anywhere for c in (1, 0.9)] == [False, True]


def test_a_clip_has_one_place_whatever_else_is_drawn():
    clip = Clip("video.mp4", "0" * 64, 0.5, 8.0, FRAMES, (8, 8), FRAMES // 2)
    places = KeyFramePlaces(center=0, first=0)
    placed = place_key_frame(clip, places)
    assert placed == place_key_frame(clip, places)
    assert placed.key_index == places.draw(FRAMES, clip.key)
    assert placed.reach == max(placed.key_index, FRAMES - 1 - placed.key_index) / 8.0


@pytest.mark.parametrize(("center", "first"), [(-0.1, 0.3), (0.8, 0.3)])
def test_no_probabilities(center, first):
    with pytest.raises(UserError, match="key_frames: center"):
        KeyFramePlaces(center=center, first=first)
