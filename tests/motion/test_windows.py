import pytest
import torch

from movideo.motion.space import Motion
from movideo.motion.windows import Window, chain_motion, go_on_from, plan_windows

SIDE = 33


@pytest.mark.parametrize(
    ("num_frames", "key_index", "length", "windows"),
    [
        (5, 2, 5, [Window(0, 2, range(5))]),
        # Around frame 4 are 2 to 6; then 6 to 10, of which all but the first are new; 10 to 14, of
        # which one is; and to the beginning -2 to 2, of which two are.
        (
            12, 4, 5,
            [
                Window(2, 2, range(5)),
                Window(6, 0, range(1, 5)),
                Window(10, 0, range(1, 2)),
                Window(-2, 4, range(2, 4)),
            ],
        ),
        (7, 0, 4, [Window(0, 0, range(4)), Window(3, 0, range(1, 4))]),
        (7, 6, 4, [Window(3, 3, range(4)), Window(0, 3, range(3))]),
    ],
)  # fmt: skip
def test_plans_by_hand(num_frames, key_index, length, windows):
    assert plan_windows(num_frames, key_index, length) == windows


@pytest.mark.parametrize("num_frames", range(4, 30))
@pytest.mark.parametrize("length", [2, 3, 4])
def test_every_frame_comes_once_and_after_the_one_it_goes_on_from(num_frames, length):
    for key_index in range(num_frames):
        there: set[int] = set()
        for window in plan_windows(num_frames, key_index, length):
            assert 0 <= window.key_index < length
            assert window.key_frame in there or (not there and window.key_frame == key_index)
            new = {window.first + frame for frame in window.kept}
            assert not new & there
            there |= new
        assert there == set(range(num_frames))


def affine(matrix, shift):
    """Flow `(1, 1, 2, S, S)` that takes p to A p + b, and its inverse."""
    ys, xs = torch.meshgrid(*[torch.arange(SIDE).double()] * 2, indexing="ij")
    points = torch.stack([xs, ys], -1)
    matrix, shift = torch.tensor(matrix).double(), torch.tensor(shift).double()
    forth = points @ matrix.T + shift - points
    back = (points - shift) @ torch.linalg.inv(matrix).T - points
    return [flow.movedim(-1, 0)[None, None] for flow in (back, forth)]


def test_motion_through_a_frame_is_the_composed_map():
    first = [[1.02, 0.03], [-0.03, 1.02]], [1.0, -0.5]
    second = [[0.98, 0.0], [0.05, 0.98]], [-0.5, 1.5]
    depth = torch.zeros(1, 1, 1, SIDE, SIDE, dtype=torch.float64)
    chained = chain_motion(Motion(depth, *affine(*first)), Motion(depth, *affine(*second)))
    a, b = (torch.tensor(m).double() for m in first)
    c, d = (torch.tensor(m).double() for m in second)
    back, forth = affine((c @ a).tolist(), (c @ b + d).tolist())
    inside = (slice(None), slice(None), slice(None), slice(6, -6), slice(6, -6))
    # Bilinear interpolation is exact for affine fields, away from the border.
    assert torch.allclose(chained.flow_v2i[inside], forth[inside], atol=1e-5)
    assert torch.allclose(chained.flow_i2v[inside], back[inside], atol=1e-5)


def test_what_the_key_frame_lost_goes_along_the_motion():
    picture = torch.zeros(1, 3, 8, 8)
    picture[..., 2] = 0.8  # a column that the window has lost
    flow = torch.zeros(1, 5, 2, 8, 8)
    flow[:, :, 0] = -torch.arange(5.0).view(1, 5, 1, 1)  # it moves right by a pixel a frame
    visible = torch.ones(1, 5, 1, 8, 8)
    visible[:, 3] = 0
    video = go_on_from(torch.zeros(1, 5, 3, 8, 8), picture, 0, flow, visible)
    assert torch.equal(video[:, 0], picture)
    for frame, share in ((1, 0.75), (2, 0.5), (3, 0.0), (4, 0.0)):
        expected = torch.zeros(8)
        expected[2 + frame] = 0.8 * share
        assert torch.allclose(video[0, frame, 0, 0], expected, atol=1e-6)
