"""Which clips a report shows, and how."""

import math

import pytest
import torch

from movideo.evaluation.examples import Shown, choose
from movideo.visualization.clips import clip_visualization
from movideo.visualization.contact_sheet import GAP, LABEL_WIDTH


def test_the_worst_the_median_and_the_best():
    values = {"a": 3.0, "b": 1.0, "c": math.nan, "d": 2.0, "e": 5.0, "f": 4.0}
    higher = choose(values, "higher")
    assert higher == {"worst": Shown("b", 1), "median": Shown("a", 3), "best": Shown("e", 5)}
    assert list(higher) == ["worst", "median", "best"]
    lower = choose(values, "lower")
    assert lower == {"worst": Shown("e", 5), "median": Shown("a", 3), "best": Shown("b", 1)}


def test_few_clips():
    assert choose({"a": math.nan}, "higher") == {}
    assert {shown.clip for shown in choose({"a": 1.0}, "lower").values()} == {"a"}
    two = choose({"a": 1.0, "b": 2.0}, "higher")
    assert [shown.clip for shown in two.values()] == ["a", "a", "b"]


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_ties_do_not_depend_on_the_order_of_clips(better):
    names = ["c", "a", "b"]
    chosen = [choose(dict.fromkeys(order, 1.0), better) for order in (names, names[::-1])]
    assert chosen[0] == chosen[1]
    assert [shown.clip for shown in chosen[0].values()] == ["a", "b", "c"]


def flat(value, side=64, frames=17):
    """Frame i is darker than `value` by i hundredths."""
    shade = value - torch.arange(frames) / 100
    return shade.view(-1, 1, 1, 1).expand(-1, 3, side, side)


def test_a_row_a_method_and_evenly_spread_frames():
    sheet = clip_visualization(flat(0.9), {"one": flat(0.5), "two": flat(0.1)}, columns=5)
    side = 128  # twice 64: every pixel becomes four
    assert sheet.shape == (3, 3 * (side + GAP), LABEL_WIDTH + 5 * (side + GAP))
    columns = [LABEL_WIDTH + GAP + side // 2 + i * (side + GAP) for i in range(5)]
    rows = [side // 2 + i * (side + GAP) for i in range(3)]
    expected = torch.tensor([[0.9], [0.5], [0.1]]) - torch.arange(0, 17, 4) / 100
    torch.testing.assert_close(sheet[0][rows][:, columns], expected)
    labels = sheet[0, :, :LABEL_WIDTH].unflatten(0, (3, -1))
    assert (labels.amin(dim=(1, 2)) < 0).all()  # ink beside each


@pytest.mark.parametrize(("side", "cell"), [(50, 150), (128, 128), (256, 256), (300, 256)])
def test_pixels_become_whole_pixels(side, cell):
    sheet = clip_visualization(None, {"one": flat(0, side, frames=2)})
    assert sheet.shape[1] == cell + GAP
