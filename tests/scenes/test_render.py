"""Scenes against a second way to compute the same: one point at a time, from the layers' poses."""

import math

import numpy as np
import pytest
import torch

from movideo.metrics import resampling_psnr
from movideo.ops import visible_mask, warp
from movideo.scenes import render as scenes
from movideo.scenes.files import SceneSettings
from movideo.scenes.layer import Teardrop
from movideo.scenes.render import render_scene


@pytest.fixture
def layers(monkeypatch):
    """The layers of the scene rendered last."""
    kept = []
    for name in ("draw_free", "draw_readable"):
        draw = getattr(scenes, name)

        def keep(*args, draw=draw):
            kept[:] = draw(*args)
            return kept

        monkeypatch.setattr(scenes, name, keep)
    return kept


def pose(layer, frame):
    linear, place = np.split(layer.poses[frame].double().numpy(), [2], axis=1)
    return linear, place[:, 0]


def own_place(layer, point, frame):
    linear, place = pose(layer, frame)
    return np.linalg.solve(linear, point - place)


def covers(layer, own, pixel):
    """Whether more than half of a pixel lies inside the outline."""
    shape = layer.outline
    if shape is None:
        return True
    if isinstance(shape, Teardrop):
        return math.hypot(*own) <= shape.radius or in_point(shape, *own)
    x, y = own[0] / shape.stretch, own[1] * shape.stretch
    lobes = 1 + shape.depth * math.cos(shape.count * math.atan2(y, x) + shape.phase)
    return math.hypot(x, y) <= shape.radius * lobes


def in_point(drop, x, y):
    """Whether a point lies in the triangle of the tip and where its two tangents touch the disc."""
    tip = drop.reach * drop.radius
    touch_x = drop.radius / drop.reach
    touch_y = math.sqrt(drop.radius**2 - touch_x**2)
    return touch_x <= x <= tip and abs(y) <= touch_y * (tip - x) / (tip - touch_x)


def seen(layers, point, frame, pixel):
    """Index of the layer in front."""
    covering = [
        i for i, each in enumerate(layers) if covers(each, own_place(each, point, frame), pixel)
    ]
    return covering[-1]


@pytest.mark.parametrize("readable", [False, True])
@pytest.mark.parametrize(("seed", "size"), [(0, (16, 16)), (3, (12, 20))])
def test_flow_and_visibility_by_hand(layers, seed, size, readable):
    scene = render_scene(seed, num_frames=5, size=size, fps=4, readable=readable)
    height, width = size
    pixel, key = 64 / min(size), 2
    occluded = 0
    for frame in (0, 4):
        for row in range(height):
            for column in range(width):
                point = (np.array([column, row]) + 0.5) * pixel
                front = seen(layers, point, frame, pixel)
                assert front == scene.layer[frame, 0, row, column]
                linear, place = pose(layers[front], key)
                there = linear @ own_place(layers[front], point, frame) + place
                # float32 positions of up to 100 units
                expected = torch.from_numpy((there - point) / pixel).float()
                assert torch.allclose(scene.flow_i2v[frame, :, row, column], expected, atol=1e-3)
                inside = (there >= 0).all() and (there <= np.array([width, height]) * pixel).all()
                visible = inside and seen(layers, there, key, pixel) == front
                assert visible == bool(scene.visible[frame, 0, row, column])
                occluded += not visible
                linear, place = pose(layers[int(scene.layer[key, 0, row, column])], frame)
                own = own_place(layers[int(scene.layer[key, 0, row, column])], point, key)
                back = torch.from_numpy((linear @ own + place - point) / pixel).float()
                assert torch.allclose(scene.flow_v2i[frame, :, row, column], back, atol=1e-3)
    assert occluded > 0


def psnr(a, b, mask):
    error = ((a - b) / 2).square()[mask.expand_as(a) > 0.5].mean()
    return float(-10 * torch.log10(error))


def test_exact_flow_warps_the_key_frame_onto_each_frame():
    right, swapped = [], []
    for seed in range(6):
        scene = render_scene(seed)
        key = scene.video[scene.key_index].expand_as(scene.video)
        right.append(psnr(warp(key, scene.flow_i2v), scene.video, scene.visible))
        swapped.append(psnr(warp(key, scene.flow_v2i), scene.video, scene.visible))
    # A visible pixel on an outline mixes two layers, which costs the rest.
    assert np.mean(right) > 35
    assert np.mean(swapped) < 30


def test_forward_and_backward_flow_agree_where_visible():
    for seed in range(4):
        scene = render_scene(seed)
        closed = scene.flow_i2v + warp(scene.flow_v2i, scene.flow_i2v)
        error = closed.norm(dim=1, keepdim=True)
        # Bilinear reading mixes two layers' flow only beside an outline.
        agrees = (error < 0.05)[scene.visible > 0.5].float().mean()
        assert agrees > 0.9
        mask = visible_mask(scene.flow_i2v, scene.flow_v2i)
        assert ((mask > 0.5) == (scene.visible > 0.5)).float().mean() > 0.93


def test_the_key_frame_is_itself():
    scene = render_scene(7, num_frames=4, size=(24, 40), key_index=1)
    assert scene.key_index == 1
    assert (scene.flow_i2v[1] == 0).all()
    assert (scene.flow_v2i[1] == 0).all()
    assert (scene.visible[1] == 1).all()
    assert scene.video.shape == (4, 3, 24, 40)
    assert (scene.video.abs() <= 1).all()
    assert (scene.depth > 0).all()
    assert (scene.depth <= 1).all()


def test_a_seed_decides_everything():
    first, again, other = render_scene((1, 5)), render_scene((1, 5)), render_scene((2, 5))
    for name in ("video", "depth", "flow_i2v", "flow_v2i", "visible", "layer"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.video, other.video)


def test_more_frames_a_second_move_less():
    slow, fast = render_scene(2, fps=5), render_scene(2, fps=10)
    assert torch.equal(slow.video[8], fast.video[8])
    # Half the time passes between frames: frame 8 + 2 n at 10 fps is frame 8 + n at 5.
    for name in ("video", "flow_i2v", "visible"):
        assert torch.allclose(getattr(fast, name)[10], getattr(slow, name)[9], atol=1e-4)
    assert fast.flow_i2v.abs().max() < slow.flow_i2v.abs().max()


def test_a_scene_is_the_same_at_every_size():
    small, large = render_scene(4, size=(32, 32)), render_scene(4, size=(64, 64))
    centres = torch.nn.functional.avg_pool2d(large.flow_i2v, 2) / 2
    same = (small.layer == large.layer[..., ::2, ::2]) & (
        small.layer == large.layer[..., 1::2, 1::2]
    )
    # Affine flow averages exactly inside a layer; outlines may pass between the four pixels.
    error = (small.flow_i2v - centres).abs().amax(1, keepdim=True)[same]
    assert error.quantile(0.95) < 0.01


READABLE = SceneSettings(count=60, seed=5, readable=1.0)


def test_a_readable_shape_points_where_it_goes():
    """The pixel of a shape that is farthest from its centroid, against the flow of the shape."""
    turned = []
    for index in range(READABLE.count):
        scene = READABLE.render(index)
        key = scene.key_index
        top = int(scene.layer[key].max())  # in front of all others: nothing hides a part of it
        rows, columns = (scene.layer[key, 0] == top).nonzero(as_tuple=True)
        inside = (rows.min() > 0, columns.min() > 0, rows.max() < 63, columns.max() < 63)
        if not all(inside):  # cut off by the frame
            continue
        places = torch.stack([columns, rows], -1).float()
        offsets = places - places.mean(0)
        tip = offsets[offsets.norm(dim=1).argmax()]
        flow = scene.flow_v2i[-1, :, rows, columns].mean(1)
        turned.append(float(torch.cosine_similarity(tip, flow, dim=0)))
    assert len(turned) > 10
    # A tip of two pixels' width leaves some degrees: the cosine of 15 degrees is 0.966.
    assert np.mean(turned) > 0.95
    assert min(turned) > 0.8


def test_a_readable_shape_is_the_warmer_the_faster_and_the_brighter_the_nearer(layers):
    warmth, speeds, brightness, nearness = [], [], [], []
    for index in range(READABLE.count):
        scene = READABLE.render(index)
        key = scene.key_index
        for number, layer in enumerate(layers):
            seen_there = scene.layer[key, 0] == number
            if number == 0 or seen_there.sum() < 60:
                continue
            red, _, blue = color = scene.video[key][:, seen_there].mean(1)
            warmth.append(float(red - blue))
            speeds.append(float(torch.linalg.norm(layer.poses[1, :, 2] - layer.poses[0, :, 2])))
            speeds[-1] *= scene.fps
            brightness.append(float(color.mean()))
            nearness.append(layer.inverse_depth)
    assert np.corrcoef(warmth, speeds)[0, 1] > 0.95
    assert np.corrcoef(brightness, nearness)[0, 1] > 0.8


def test_readable_scenes_move_and_are_no_blur():
    made = [READABLE.render(index) for index in range(READABLE.count)]
    largest = [float(scene.flow_v2i.norm(dim=1).max()) for scene in made]
    assert np.median(largest) > 4
    assert np.mean([float(resampling_psnr(scene.video[None])) for scene in made]) < 26


def test_the_share_of_readable_scenes_changes_no_scene():
    some, more = (SceneSettings(count=400, seed=3, num_frames=1, readable=r) for r in (0.3, 0.85))
    chosen = [[each.is_readable(index) for index in range(400)] for each in (some, more)]
    # Three standard deviations of 400 draws.
    assert np.mean(chosen[0]) == pytest.approx(0.3, abs=0.07)
    assert np.mean(chosen[1]) == pytest.approx(0.85, abs=0.055)
    assert all(b for a, b in zip(*chosen, strict=True) if a)
    both = next(i for i in range(400) if chosen[0][i] and chosen[1][i])
    assert torch.equal(some.render(both).video, more.render(both).video)
    free = SceneSettings(count=1, seed=3, num_frames=1, readable=0.0)
    assert torch.equal(free.render(7).video, render_scene((3, 7), num_frames=1).video)
