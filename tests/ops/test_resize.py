import pytest
import torch
import torch.nn.functional as F

from movideo.ops import resize, resize_flow, visible_mask
from movideo.scenes.render import render_scene


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (16, 3), (1, 1), (16, 24)])
def test_shrinks_by_centre_samples(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 1, 16, 24)
    index = [
        torch.tensor([int((i + 0.5) * old / new) for i in range(new)])
        for old, new in zip((16, 24), size, strict=True)
    ]
    assert torch.equal(resize(x, size), x[..., index[0][:, None], index[1]])


def test_flow_vectors_follow_each_axis() -> None:
    flow = torch.ones(3, 2, 8, 10)
    small = resize_flow(flow, (4, 2))
    assert small.shape == (3, 2, 4, 2)
    assert (small[:, 0] == 0.2).all()  # dx: 10 columns become 2
    assert (small[:, 1] == 0.5).all()  # dy: 8 rows become 4


def test_one_axis_grows_while_the_other_shrinks() -> None:
    ys, xs = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    flow = torch.stack([xs, ys])
    wide = resize_flow(flow, (4, 16))
    assert (
        wide[0, :, 4:12].diff(dim=-1).allclose(torch.ones(4, 7))
    )  # dx grew with its axis: still 1 a pixel
    assert wide[1, :, 0].tolist() == [0.5, 1.5, 2.5, 3.5]  # rows 1, 3, 5, 7, halved
    tall = resize_flow(flow, (16, 4))
    assert tall[1, 4:12].diff(dim=-2).allclose(torch.ones(7, 4))
    assert tall[0, 0].tolist() == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (13, 9)])
def test_growing_and_shrinking_gives_back_the_samples(size: tuple[int, int]) -> None:
    flow = torch.randn(2, 8, 8)
    assert torch.allclose(
        resize_flow(resize_flow(flow, size), (8, 8)), flow, atol=1e-6
    )  # one float32 rounding


def test_a_rotation_comes_back_exactly() -> None:
    ys, xs = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    flow = torch.stack([0.1 * (ys - 30) + 2, -0.1 * (xs - 30)])
    back = resize_flow(resize_flow(flow, (8, 8)), (64, 64))
    inner = (
        ...,
        slice(8, 56),
        slice(8, 56),
    )  # the outermost cells have one neighbour and so no slope
    assert torch.allclose(
        back[inner], flow[inner], atol=1e-5
    )  # vectors of up to 5 px: float32 rounding


def test_an_edge_stays_a_step() -> None:
    row = torch.tensor([0.0, 0, 0, 3, 3, 3]).expand(1, 4, 6)
    assert resize(row, (4, 24))[0, 0].tolist() == [0.0] * 12 + [3.0] * 12


def test_gradients_match_finite_differences() -> None:
    flow = torch.randn(
        2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda f: resize_flow(f, (9, 4)), (flow,))


def test_beats_nearest_and_bilinear_on_scenes() -> None:
    """Down to a coarse grid and back: flow error and IoU of the occluded class."""
    ways = {
        "ours": lambda f: resize_flow(f, (128, 128)),
        "nearest": lambda f: 8 * F.interpolate(f, (128, 128), mode="nearest-exact"),
        "bilinear": lambda f: 8 * F.interpolate(f, (128, 128), mode="bilinear"),
    }
    errors, ious = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    for seed in range(6):
        scene = render_scene(seed, num_frames=5, size=(128, 128), fps=3)
        small = [resize_flow(flow, (16, 16)) for flow in (scene.flow_i2v, scene.flow_v2i)]
        for name, grow in ways.items():
            i2v, v2i = (grow(flow) for flow in small)
            mask, truth = visible_mask(i2v, v2i).bool(), scene.visible.bool()
            errors[name] += float((i2v - scene.flow_i2v).norm(dim=1).mean())
            ious[name] += float((~mask & ~truth).sum() / (~mask | ~truth).sum())
    assert errors["ours"] < 0.85 * min(
        errors["nearest"], errors["bilinear"]
    )  # 0.70 to 0.75 measured
    assert ious["ours"] > max(ious["nearest"], ious["bilinear"])
