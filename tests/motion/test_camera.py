"""Every camera path against flow worked out by hand, in pixels."""

import math

import pytest
import torch

from movideo.errors import UserError
from movideo.motion import CameraPath, ClipShape
from movideo.motion.camera import CAMERA_PATHS
from movideo.motion.space import Motion
from movideo.ops import visible_mask

SIZE = (41, 61)  # odd: pixel (30, 20) is the centre
CLIP = ClipShape(num_frames=5, key_index=2, size=SIZE, fps=10)
FOCAL = 61.0  # the longer side
HALF = 0.5  # of the clip lies between the key frame and the last one


def flow(name, amount=None, depth=1.0, clip=CLIP):
    return CameraPath(name, amount).over(torch.full((1, 1, *SIZE), depth), clip).flow_v2i[0]


def at(field, x, y):
    return field[-1, :, 20 + y, 30 + x].tolist()


@pytest.mark.parametrize("name", CAMERA_PATHS)
def test_identity_at_the_key_frame_and_the_opposite_before_it(name):
    depth = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    motion = CameraPath(name).over(depth, CLIP)
    for field in (motion.flow_i2v, motion.flow_v2i):
        assert (field[:, 2] == 0).all()
    # A little motion is nearly even in time: what is left is the square of the angle.
    small = CameraPath(name, 0.01).over(depth, CLIP).flow_v2i[0]
    assert (small[0] + small[4]).abs().max() < 0.05 * small[4].abs().max()


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        # The content at the centre moves by half the amount: 0.1 of 61 and 41 pixels.
        ("pan_left", (0, 0), (0.1 * 61, 0)),
        ("pan_right", (0, 0), (-0.1 * 61, 0)),
        ("tilt_up", (0, 0), (0, 0.1 * 41)),
        ("tilt_down", (0, 0), (0, -0.1 * 41)),
        # 7.5 degrees: a point 20 to the right goes down as the camera rolls left.
        ("roll_left", (20, 0), (20 * (math.cos(0.1309) - 1), 20 * math.sin(0.1309))),
        ("roll_right", (20, 0), (20 * (math.cos(0.1309) - 1), -20 * math.sin(0.1309))),
        # 1.3 over the clip.
        ("zoom_in", (20, -10), (20 * (1.3**0.5 - 1), -10 * (1.3**0.5 - 1))),
        ("zoom_out", (20, -10), (20 * (1.3**-0.5 - 1), -10 * (1.3**-0.5 - 1))),
        # Depth 1: the nearest point, the one that the amounts speak of.
        ("truck_left", (7, 3), (0.1 * 61, 0)),
        ("truck_right", (7, 3), (-0.1 * 61, 0)),
        ("pedestal_up", (7, 3), (0, 0.1 * 41)),
        ("pedestal_down", (7, 3), (0, -0.1 * 41)),
        # 0.15 of the distance to it: 1 / 0.85 and 1 / 1.15 as large.
        ("dolly_in", (20, -10), (20 * (1 / 0.85 - 1), -10 * (1 / 0.85 - 1))),
        ("dolly_out", (20, -10), (20 * (1 / 1.15 - 1), -10 * (1 / 1.15 - 1))),
    ],
)
def test_flow_by_hand(name, place, expected):
    assert at(flow(name), *place) == pytest.approx(expected, abs=1e-3)


def test_an_orbit_turns_about_the_middle_depth():
    """The pivot, at inverse depth 0.625, stays; nearer and farther things go opposite ways."""
    assert at(flow("orbit_left", depth=0.0), 0, 0) == pytest.approx((0, 0), abs=1e-4)
    angle, pivot = math.radians(7.5), 1.6
    for depth, distance in ((1.0, 1.0), (-1.0, 4.0)):
        gap = distance - pivot  # behind the pivot
        expected = FOCAL * -gap * math.sin(angle) / (pivot + gap * math.cos(angle))
        assert at(flow("orbit_left", depth=depth), 0, 0)[0] == pytest.approx(expected, abs=1e-3)
        assert at(flow("orbit_right", depth=depth), 0, 0)[0] == pytest.approx(-expected, abs=1e-3)
    assert at(flow("orbit_left", depth=1.0), 0, 0)[0] > 0


@pytest.mark.parametrize("name", ["pan_left", "tilt_up", "roll_left", "zoom_in"])
def test_homographies_do_not_see_depth(name):
    assert torch.equal(flow(name, depth=-1.0), flow(name, depth=1.0))


def test_the_farthest_moves_a_quarter_of_the_nearest():
    near, far = flow("truck_left", depth=1.0), flow("truck_left", depth=-1.0)
    assert torch.allclose(far, near / 4, atol=1e-5)


def test_amount_and_strength_multiply():
    depth = torch.zeros(1, 1, *SIZE)
    stronger = CameraPath("roll_left", 10).over(depth, CLIP, strength=1.5)
    assert torch.equal(stronger.flow_v2i[0], flow("roll_left", 15, depth=0.0))


def test_the_way_back_agrees_and_what_comes_in_is_occluded():
    motion = CameraPath("pan_left").over(torch.zeros(1, 1, *SIZE), CLIP)
    mask = visible_mask(motion.flow_i2v, motion.flow_v2i)[0, -1, 0]
    # The content moves 6.1 pixels to the right, at the edges of a wide view somewhat more.
    assert (mask[:, :6] == 0).all()
    assert (mask[:, 9:] == 1).float().mean() > 0.97


def test_depth_is_that_of_the_key_frame_of_generated_motion():
    depth = torch.rand(1, 5, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    generated = Motion(depth, torch.zeros(1, 5, 2, *SIZE), torch.zeros(1, 5, 2, *SIZE))
    got = CameraPath("truck_left").motion(CLIP, lambda: generated)
    assert torch.equal(got.flow_v2i, CameraPath("truck_left").over(depth[:, 2], CLIP).flow_v2i)


@pytest.mark.parametrize(
    ("name", "amount", "says"),
    [
        ("pan_lefft", None, "camera:pan_lefft: no such camera path; did you mean pan_left?"),
        ("xyz", None, "choose one of pan_left, pan_right"),
        ("dolly_in", 0.95, "camera:dolly_in: amount 0.95; give 0 to 0.9 distances"),
        ("pan_left", -0.1, "amount -0.1"),
        ("pan_left", math.nan, "amount nan"),
    ],
)
def test_what_is_no_path(name, amount, says):
    with pytest.raises(UserError, match=says):
        CameraPath(name, amount)


def test_too_strong():
    with pytest.raises(UserError, match=r"1\.2 with --motion_strength 2; give 0 to"):
        CameraPath("dolly_in", 0.6).motion(CLIP, lambda: pytest.fail("needless work"), 2)
