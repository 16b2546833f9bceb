import pytest
import torch
from torch import nn

from movideo.models.temporal import TemporalAttention, TemporalConvolution, key_distance

FRAMES = 5


def randomise(module):
    """Leaves no parameter at zero, as training would."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


@pytest.fixture
def clip():
    """Features of two clips of five frames, `(B * F, C, H, W)`."""
    return torch.randn(2 * FRAMES, 16, 3, 4, generator=torch.Generator().manual_seed(0))


def test_key_distance_is_signed_and_per_clip():
    assert key_distance(1, 4, None).tolist() == [[-2, -1, 0, 1]]
    both = key_distance(2, 3, torch.tensor([0, 2]))
    assert both.tolist() == [[0, 1, 2], [-2, -1, 0]]


@pytest.mark.parametrize("head_dim", [8, 32])
def test_layers_start_as_exact_identities(clip, head_dim):
    distance = key_distance(2, FRAMES, None)
    assert torch.equal(TemporalConvolution(16, groups=4)(clip, FRAMES), clip)
    assert torch.equal(TemporalAttention(16, head_dim)(clip, distance), clip)


def test_convolution_is_that_of_conv3d(clip):
    layer = randomise(TemporalConvolution(16, groups=4))
    first, second = (m for m in layer.mix if isinstance(m, nn.Conv2d))
    hidden = layer.norm(clip).view(2, FRAMES, 16, 3, 4).transpose(1, 2)
    for convolution in (first, second):
        weight = convolution.weight[..., None]  # (C, C, 3, 1, 1)
        hidden = nn.functional.conv3d(
            nn.functional.silu(hidden), weight, convolution.bias, padding=(1, 0, 0)
        )
    expected = clip + hidden.transpose(1, 2).flatten(0, 1)
    # float32 sums of 48 products in another order
    torch.testing.assert_close(layer(clip, FRAMES), expected, atol=1e-4, rtol=1e-4)


def test_convolution_reaches_two_frames_and_no_further(clip):
    layer = randomise(TemporalConvolution(16, groups=4))
    changed = clip.clone()
    changed[0] += 1.0 + torch.arange(16)[:, None, None]
    moved = (layer(changed, FRAMES) - layer(clip, FRAMES)).abs().amax(dim=(1, 2, 3)) > 0
    # two kernels of 3: frames 0, 1, 2 of the first clip; never the second clip
    assert moved.tolist() == [True] * 3 + [False] * 7


def test_group_norm_sees_one_frame_at_a_time(clip):
    layer = TemporalConvolution(16, groups=4)
    normed = layer.norm(clip).view(2 * FRAMES, 4, -1)
    # mean 0 in every frame and group; float32 sums of 48 values
    assert normed.mean(dim=2).abs().max() < 1e-6


def test_attention_is_that_of_torch(clip):
    """Against torch's own multi-head attention, place by place, with the encoding by hand."""
    layer = randomise(TemporalAttention(16, head_dim=8))
    own = layer.attention
    reference = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(
            torch.cat([own.to_q.weight, own.to_k.weight, own.to_v.weight])
        )
        reference.in_proj_bias.zero_()
        reference.out_proj.weight.copy_(own.to_out[0].weight)
        reference.out_proj.bias.copy_(own.to_out[0].bias)
    distance = key_distance(2, FRAMES, torch.tensor([0, 3]))
    angles = distance[..., None] * 100.0 ** (-torch.arange(8) / 8)
    encoding = torch.cat([angles.sin(), angles.cos()], dim=-1)  # (B, F, C)

    out = layer(clip, distance).view(2, FRAMES, 16, 3, 4)
    at_place = clip.view(2, FRAMES, 16, 3, 4)[..., 1, 2]
    query = layer.attention_norm(at_place) + encoding
    hidden = at_place + reference(query, query, query)[0]
    expected = hidden + layer.feed_forward(layer.feed_forward_norm(hidden))
    # float32, another order of sums
    torch.testing.assert_close(out[..., 1, 2], expected, atol=1e-4, rtol=1e-4)
