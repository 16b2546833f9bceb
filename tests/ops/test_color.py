import colorsys

import pytest
import torch

from movideo.ops import depth_to_color, flow_to_color


def rgb(color: torch.Tensor) -> list[int]:
    return ((color + 1) * 127.5).round().int().flatten().tolist()


# By hand from the wheel of Baker et al.: 55 colours in segments of 15, 6, 4, 11, 13 and 6 from red
# over yellow, green, cyan, blue and magenta back to red. Right is place 0 of 55, down 13.75, left
# 27.5 (2.5/11 from cyan to blue), and up 41.25.
WHEEL = {
    (1.0, 0.0): (255, 0, 0),
    (0.0, 1.0): (255, 255 * 13.75 / 15, 0),
    (-1.0, 0.0): (0, 255 * (1 - 2.5 / 11), 255),
    (0.0, -1.0): (255 * 5.25 / 13, 0, 255),
}


@pytest.mark.parametrize("vector", WHEEL)
@pytest.mark.parametrize("length", [1.0, 0.5])
def test_wheel(vector: tuple[float, float], length: float) -> None:
    flow = length * torch.tensor(vector).reshape(2, 1, 1)
    expected = [255 - length * (255 - channel) for channel in WHEEL[vector]]
    assert rgb(flow_to_color(flow, max_norm=1.0)) == pytest.approx(expected, abs=0.5)


def test_the_wheel_is_one_circle() -> None:
    """No step between neighbours is larger than on the steepest way, 255 in 4 places."""
    directions = 5500
    angle = torch.linspace(-torch.pi, torch.pi, directions + 1)
    flow = torch.stack([angle.cos(), angle.sin()])[:, None]
    colors = (flow_to_color(flow, max_norm=1.0) + 1) * 127.5
    steps = colors.diff(dim=-1).abs()
    assert steps.max() <= 255 / 4 / (directions / 55) * 1.01
    near_right = torch.tensor([[1.0, 1.0, 1.0], [-1e-7, 0.0, 1e-7]])[:, None]
    assert rgb(flow_to_color(near_right))[:3] == [255, 255, 255]
    assert max(rgb(flow_to_color(near_right))[3:]) == 0


def test_it_is_the_published_wheel_but_for_its_gap() -> None:
    """torchvision follows the published code, whose 55 places span the circle less one place."""
    from torchvision.utils import flow_to_image

    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(2, 40, 40, generator=generator)
    flow = flow / torch.linalg.vector_norm(flow, dim=0).max()
    turn = torch.atan2(flow[1], flow[0]) / (2 * torch.pi) % 1
    squeezed = (turn * 55 / 54) * 2 * torch.pi  # the angle at which it has the colour of that place
    inside = turn < 54 / 55
    length = torch.linalg.vector_norm(flow, dim=0)
    theirs = flow_to_image(torch.stack([length * squeezed.cos(), length * squeezed.sin()]))
    ours = (flow_to_color(flow) + 1) * 127.5
    # It rounds its colours down to bytes, and the picture once more.
    assert (ours - theirs)[:, inside].abs().max() <= 2


def test_scale_of_the_wheel() -> None:
    flow = torch.zeros(2, 3, 2, 1, 1)
    flow[:, :, 0] = torch.tensor([0.0, 2.0, 4.0])[None, :, None, None]
    assert rgb(flow_to_color(flow)[0]) == pytest.approx(
        [255, 255, 255, 255, 127.5, 127.5, 255, 0, 0], abs=0.5
    )
    per_clip = flow_to_color(flow, max_norm=torch.tensor([[8.0], [2.0]]))
    assert rgb(per_clip[0, 2]) == pytest.approx([255, 127.5, 127.5], abs=0.5)
    assert rgb(per_clip[1, 1]) == rgb(per_clip[1, 2]) == [255, 0, 0]  # longer than 2 looks like 2


def test_no_motion_is_white() -> None:
    assert (flow_to_color(torch.zeros(2, 2, 4, 5)) == 1).all()
    assert (flow_to_color(torch.zeros(2, 2, 4, 5), max_norm=0.0) == 1).all()


def test_depth_runs_from_blue_to_red() -> None:
    """The ends of turbo as its authors publish them: (48, 18, 59) and (122, 4, 3)."""
    colors = depth_to_color(torch.tensor([-1.0, -0.6, 0.6, 1.0, 5.0]).reshape(5, 1, 1, 1))
    assert colors.shape == (5, 3, 1, 1)
    assert rgb(colors[0]) == [48, 18, 59]
    assert rgb(colors[3]) == rgb(colors[4]) == [122, 4, 3]
    hue = [colorsys.rgb_to_hsv(*((color.flatten() + 1) / 2).tolist())[0] for color in colors[1:3]]
    assert 0.5 < hue[0] < 0.75  # blue
    assert hue[1] < 0.15  # orange
