import pytest
import torch
import torch.nn.functional as F

from movideo.ops import warp
from movideo.scenes.render import Scene, render_scene


def constant_flow(dx: float, dy: float, size: tuple[int, int]) -> torch.Tensor:
    return torch.tensor([dx, dy])[:, None, None].expand(2, *size)


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (7, 1), (37, 50), (272, 640), (33, 129)])
def test_zero_flow_is_the_identity(size: tuple[int, int]) -> None:
    x = torch.randn(3, *size)
    assert torch.equal(warp(x, torch.zeros(2, *size)), x)


def test_flow_along_x_reads_from_the_right() -> None:
    x = torch.arange(6.0).reshape(1, 2, 3)  # rows 0 1 2 and 3 4 5
    assert warp(x, constant_flow(1, 0, (2, 3))).tolist() == [[[1, 2, 2], [4, 5, 5]]]


def test_flow_along_y_reads_from_below() -> None:
    x = torch.arange(6.0).reshape(1, 2, 3)
    assert warp(x, constant_flow(0, 1, (2, 3))).tolist() == [[[3, 4, 5], [3, 4, 5]]]


def test_half_pixels_are_interpolated() -> None:
    x = torch.tensor([[[0.0, 4.0, 2.0, 6.0]]])
    assert warp(x, constant_flow(-0.5, 0, (1, 4))).tolist() == [[[0, 2, 3, 4]]]


def test_far_outside_takes_the_border() -> None:
    x = torch.arange(15.0).reshape(1, 3, 5)
    assert torch.equal(warp(x, constant_flow(100, -100, (3, 5))), torch.full((1, 3, 5), 4.0))


@pytest.mark.parametrize(
    ("x_lead", "flow_lead"),
    [
        ((2, 1), (2, 3)),
        ((2, 3), (2, 1)),
        ((), (2, 3)),
        ((2, 3), ()),
        ((1, 3), (2, 1)),
        ((2, 1, 3, 1), (2, 2, 1, 2)),
    ],
)
def test_leading_dimensions_broadcast(x_lead: tuple[int, ...], flow_lead: tuple[int, ...]) -> None:
    x, flow = torch.randn(*x_lead, 3, 6, 5), torch.randn(*flow_lead, 2, 6, 5)
    lead = torch.broadcast_shapes(x_lead, flow_lead)
    together = warp(x, flow)
    one_by_one = [
        warp(a, b)
        for a, b in zip(
            x.expand(*lead, -1, -1, -1).reshape(-1, 3, 6, 5),
            flow.expand(*lead, -1, -1, -1).reshape(-1, 2, 6, 5),
            strict=True,
        )
    ]
    assert torch.equal(together, torch.stack(one_by_one).reshape(*lead, 3, 6, 5))


def test_gradients_match_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 2, 5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    # Away from whole pixels, where the bilinear kernel has a kink and no derivative.
    whole = torch.randint(-1, 2, (2, 3, 2, 5, 6), generator=generator)
    part = 0.2 + 0.6 * torch.rand(whole.shape, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(warp, (x, (whole + part).requires_grad_()))


def test_samples_in_float32_whatever_the_input() -> None:
    x, flow = torch.randn(3, 16, 256), constant_flow(0.3, 0, (16, 256))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(warp(x, flow), warp(x.clone(), flow.clone()))
        assert warp(x, flow).dtype == torch.float32
    half = x.bfloat16()
    # The only loss is the rounding of the result; positions in bfloat16 would be off by whole
    # pixels at x = 255.
    assert torch.equal(warp(half, flow), warp(half.float(), flow).bfloat16())


def test_rejects_a_flow_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(2, 8, 9\)"):
        warp(torch.zeros(3, 8, 8), torch.zeros(2, 8, 9))


def worst_psnr(flow: torch.Tensor, scene: Scene, chosen: torch.Tensor) -> float:
    """PSNR (peak to peak 2) of the warped key frame over the chosen pixels, in the worst frame."""
    frames = [f for f in range(len(flow)) if f != scene.key_index]
    error = (warp(scene.video[scene.key_index], flow) - scene.video).square()
    return min(float(10 * torch.log10(4 / error[f][:, chosen[f, 0]].mean())) for f in frames)


def test_flow_i2v_carries_the_key_frame_into_every_frame() -> None:
    """Over 35 dB where visible in every frame, but not with the flows swapped."""
    for seed in range(4):
        scene = render_scene(seed, num_frames=5, size=(256, 256), fps=3)
        assert worst_psnr(scene.flow_i2v, scene, scene.visible.bool()) > 35
        assert worst_psnr(scene.flow_v2i, scene, scene.visible.bool()) < 30


def test_the_direction_on_small_frames() -> None:
    """No warp can follow an outline's mixed pixels, a large share at 64x64: they are left out."""
    for seed in range(8):
        scene = render_scene(seed, fps=6)
        layer = scene.layer.float()
        pure = F.max_pool2d(layer, 3, 1, 1) == -F.max_pool2d(-layer, 3, 1, 1)
        from_pure = warp(pure[scene.key_index].float(), scene.flow_i2v) == 1
        chosen = scene.visible.bool() & pure & from_pure
        assert worst_psnr(scene.flow_i2v, scene, chosen) > 35
        assert worst_psnr(scene.flow_v2i, scene, chosen) < 30
