"""What makes networks fast on a CPU changes nothing but rounding."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from movideo.models.cpu import ConvolvedLinear, convolve_linears, laid_out


@pytest.mark.parametrize("shape", [(700, 12), (3, 400, 12), (2, 3, 5, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolved_linear_is_a_linear(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(12, 7, bias=bias, dtype=torch.float64)
    layer = ConvolvedLinear(12, 7, bias=bias)
    layer.load_state_dict(plain.state_dict())
    plain.load_state_dict(layer.state_dict())  # the rounded weights
    x = torch.randn(shape, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    found, expected = layer(x), plain(exact)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    assert x.grad is not None
    assert exact.grad is not None
    # Sums over 700 rows in float32: six digits.
    torch.testing.assert_close(x.grad.double(), exact.grad, atol=1e-4, rtol=1e-4)
    grads = zip(layer.parameters(), plain.parameters(), strict=True)
    for ours, theirs in grads:
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-2, rtol=1e-4)


def test_rows_out_of_order_in_memory_are_read_in_order() -> None:
    torch.manual_seed(0)
    layer = ConvolvedLinear(8, 8)
    x = torch.randn(8, 600).t()
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_plain_linears_alone_are_convolved() -> None:
    class Own(nn.Linear):
        pass

    network = nn.Sequential(nn.Linear(2, 3), Own(3, 3), nn.Sequential(nn.Linear(3, 1)))
    names = list(network.state_dict())
    convolve_linears(network)
    assert [type(m) for m in network] == [ConvolvedLinear, Own, nn.Sequential]
    assert type(network[2][0]) is ConvolvedLinear
    assert list(network.state_dict()) == names


def test_frames_lie_channels_last_on_a_cpu() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert laid_out(x).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(laid_out(x), x)
