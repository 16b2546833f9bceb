import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from movideo.ops import deform_conv, warp
from movideo.ops.deform_conv import _torchvision, _warped_taps


def random_inputs(seed=0, frames=3, reach=3.0, kernel=3):
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=generator)

    taps = kernel**2
    return (
        randn(2, 4, 7, 10),
        randn(2, frames, taps, 2, 7, 10) * reach,
        randn(2, frames, taps, 7, 10).sigmoid(),
        randn(5, 4, kernel, kernel),
    )


def test_without_offsets_it_is_a_convolution():
    x, offset, mask, weight = random_inputs()
    convolved = deform_conv(x, offset * 0, torch.ones_like(mask), weight)
    expected = F.conv2d(x, weight, padding=1)
    for frame in convolved.unbind(1):
        # 36 products summed in another order
        torch.testing.assert_close(frame, expected, rtol=1e-5, atol=1e-5)


def test_one_tap_in_the_centre_warps():
    x, offset, mask, _ = random_inputs()
    flow = offset[:, :, :1].clamp(-1, 1)
    dirac = torch.nn.init.dirac_(torch.empty(4, 4, 3, 3))
    everywhere = flow.expand_as(offset)
    moved = deform_conv(x, everywhere, torch.ones_like(mask), dirac)
    expected = warp(x[:, None], flow[:, :, 0])
    inside = (..., slice(1, -1), slice(1, -1))  # outside one is zero, the other the border
    torch.testing.assert_close(moved[inside], expected[inside])


@pytest.mark.parametrize("kernel", [1, 3])
def test_equals_torchvision_with_dx_and_dy_exchanged(kernel):
    x, offset, mask, weight = random_inputs(kernel=kernel)
    ours = deform_conv(x, offset, mask, weight)
    for f, frame in enumerate(ours.unbind(1)):
        pairs = torch.stack([offset[:, f, :, 1], offset[:, f, :, 0]], dim=2).flatten(1, 2)
        theirs = deform_conv2d(x, pairs, weight, padding=kernel // 2, mask=mask[:, f])
        torch.testing.assert_close(frame, theirs, rtol=1e-4, atol=1e-5)
        swapped = deform_conv2d(
            x, offset[:, f].flatten(1, 2), weight, padding=kernel // 2, mask=mask[:, f]
        )
        assert (frame - swapped).abs().max() > 1


def test_both_ways_of_computing_it_have_the_same_gradients():
    found = []
    for convolve in (_torchvision, _warped_taps):
        x, offset, mask, weight = random_inputs(frames=1)
        inputs = [t.requires_grad_() for t in (x, offset[:, 0], mask[:, 0], weight)]
        convolved = convolve(inputs[0], inputs[3])(inputs[1], inputs[2])
        found.append(torch.autograd.grad(convolved.square().sum(), inputs))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)  # sums of hundreds


def test_computes_in_float32_under_autocast():
    x, offset, mask, weight = random_inputs()
    expected = deform_conv(x, offset, mask, weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = deform_conv(x, offset, mask, weight)
        half = deform_conv(x.bfloat16(), offset, mask, weight)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert half.dtype == torch.bfloat16


def test_refuses_another_number_of_taps():
    x, offset, mask, weight = random_inputs()
    with pytest.raises(ValueError, match="a kernel of 3 has 9 taps"):
        deform_conv(x, offset[:, :, :4], mask[:, :, :4], weight)
