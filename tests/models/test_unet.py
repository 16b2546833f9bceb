import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from movideo.errors import UserError
from movideo.models.unet import SpatioTemporalUNet, inflate_unet

FRAMES, TOKEN_DIM = 3, 24
TINY = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": TOKEN_DIM,
}
SHAPES = {
    "sd-1.5": {"attention_head_dim": 8},
    "sd-2": {"attention_head_dim": (2, 4), "use_linear_projection": True},
}


@pytest.fixture(params=SHAPES)
def unet_2d(request):
    torch.manual_seed(0)
    return UNet2DConditionModel(**TINY, **SHAPES[request.param])


@pytest.fixture
def unet():
    """A spatio-temporal UNet in which nothing is zero any more."""
    torch.manual_seed(0)
    model = inflate_unet(UNet2DConditionModel(**TINY, **SHAPES["sd-2"]), 6, 5, 7)
    for parameter in model.new_parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def inputs(channels=4, token_dim=TOKEN_DIM, size=(8, 8)):
    generator = torch.Generator().manual_seed(1)
    return {
        "sample": torch.randn(2, FRAMES, channels, *size, generator=generator),
        "timestep": torch.tensor([10, 700]),
        "image_tokens": torch.randn(2, 4, token_dim, generator=generator),
        "fps": torch.tensor([3.0, 24.0]),
    }


def frame_by_frame(unet_2d, model, sample, timestep, image_tokens, fps):
    own = sample[:, :, : unet_2d.config.in_channels].flatten(0, 1)
    tokens = model.token_projection(image_tokens).repeat_interleave(FRAMES, dim=0)
    out = unet_2d(own, timestep.repeat_interleave(FRAMES), tokens).sample
    return out.unflatten(0, (-1, FRAMES))


# 9 x 10: halved sides are rounded, and the way up must find its sizes again
@pytest.mark.parametrize("size", [(8, 8), (9, 10)])
@pytest.mark.parametrize("in_channels", [4, 10])
@torch.no_grad()
def test_start_is_the_2d_network_frame_by_frame(unet_2d, in_channels, size):
    model = inflate_unet(unet_2d, in_channels=in_channels, image_token_dim=7)
    batch = inputs(in_channels, token_dim=7, size=size)
    expected = frame_by_frame(unet_2d, model, **batch)
    # float32 and outputs near 1: keys shared by frames change the order of sums, nothing else
    assert (model(**batch) - expected).abs().max() < 1e-5


@torch.no_grad()
def test_original_channels_are_kept_when_out_channels_differ(unet_2d):
    model = inflate_unet(unet_2d, out_channels=5)
    assert model(**inputs()).shape == (2, FRAMES, 5, 8, 8)
    # With the old last convolution put back, the rest is unchanged.
    model.conv_out = unet_2d.conv_out
    expected = frame_by_frame(unet_2d, model, **inputs())
    assert (model(**inputs()) - expected).abs().max() < 1e-5


def test_frames_influence_one_another_after_one_step(unet_2d):
    model, batch = inflate_unet(unet_2d), inputs()
    changed = {**batch, "sample": batch["sample"].clone()}
    changed["sample"][:, 0] += 1.0
    other = slice(1, None)
    with torch.no_grad():
        assert torch.equal(model(**batch)[:, other], model(**changed)[:, other])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(**batch).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        difference = model(**batch)[:, other] - model(**changed)[:, other]
    # 1e-5 would be rounding; the step moves weights by 1e-3
    assert (difference.abs().amax(dim=(0, 2, 3, 4)) > 1e-4).all()


def test_gradient_checkpointing_changes_no_gradient(unet):
    batch = inputs(6, token_dim=7)
    unet.train()

    def gradients():
        unet.zero_grad()
        unet(**batch).square().mean().backward()
        return [parameter.grad.clone() for parameter in unet.parameters()]

    plain = gradients()
    unet.enable_gradient_checkpointing()
    assert unet.is_gradient_checkpointing
    for with_checkpoints, without in zip(gradients(), plain, strict=True):
        # the same operations; threads may sum in another order
        torch.testing.assert_close(with_checkpoints, without, rtol=1e-5, atol=1e-7)
    unet.disable_gradient_checkpointing()
    assert not unet.is_gradient_checkpointing


def test_gradient_checkpointing_keeps_less(unet):
    def kept():
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.setdefault(t.data_ptr(), t) if t.numel() else t, lambda t: t
        ):
            unet(**inputs(6, token_dim=7))
        return sum(t.numel() for t in sizes.values())

    plain = kept()
    unet.enable_gradient_checkpointing()
    assert kept() < plain / 2


@pytest.mark.parametrize(("in_channels", "out_channels"), [(4, 4), (10, 5)])
def test_groups_hold_exactly_old_and_new(unet_2d, in_channels, out_channels):
    model = inflate_unet(unet_2d, in_channels, out_channels, image_token_dim=7)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    spatial = {names[id(p)].removeprefix("spatial.") for p in model.spatial_parameters()}
    new = {names[id(p)] for p in model.new_parameters()}
    old = {name for name, _ in unet_2d.named_parameters()}
    if out_channels != 4:
        old -= {"conv_out.weight", "conv_out.bias"}
    assert spatial == old
    assert len(spatial) + len(new) == len(names)
    parts = {name.split(".")[0] for name in new}
    always = {"temporal_convolutions", "temporal_attentions", "fps_embedding"}
    always |= {"token_projection", "null_token"}
    assert parts == always | ({"conv_in", "conv_out"} if in_channels != 4 else set())


def test_every_parameter_gets_a_gradient_even_if_nothing_drops(unet):
    unet(**inputs(6, token_dim=7)).square().mean().backward()
    assert [name for name, p in unet.named_parameters() if p.grad is None] == []


@torch.no_grad()
def test_batched_key_index_equals_single_calls(unet):
    batch = inputs(6, token_dim=7)
    together = unet(**batch, key_index=torch.tensor([0, 2]))
    for index, key in enumerate((0, 2)):
        alone = unet(**{name: x[index : index + 1] for name, x in batch.items()}, key_index=key)
        # batch sizes may choose other kernels: float32 rounding
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-5, rtol=1e-4)
    assert (together - unet(**batch)).abs().max() > 1e-4  # the key frame's place is seen
    torch.testing.assert_close(unet(**batch, key_index=1), unet(**batch))  # default: F // 2


@torch.no_grad()
def test_fps_is_seen_and_silent_at_the_start(unet, unet_2d):
    batch, start = inputs(6, token_dim=7), inflate_unet(unet_2d)
    other = torch.tensor([30.0, 30.0])
    assert (unet(**batch) - unet(**{**batch, "fps": other})).abs().max() > 1e-4
    assert torch.equal(start(**inputs()), start(**{**inputs(), "fps": other}))


@torch.no_grad()
def test_dropped_tokens_give_way_to_the_null_token(unet):
    batch = inputs(6, token_dim=7)
    full, none = unet(**batch), unet(**{**batch, "image_tokens": None})
    half = unet(**batch, drop_tokens=torch.tensor([False, True]))
    # four equal tokens weigh a quarter each: the same as one, up to float32 rounding
    torch.testing.assert_close(half[1], none[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(half[0], full[0], atol=1e-5, rtol=1e-4)
    assert (full - none).abs().max() > 1e-4


@torch.no_grad()
def test_saved_and_loaded_is_the_same(unet, tmp_path):
    unet.save_pretrained(tmp_path)
    loaded = SpatioTemporalUNet.from_pretrained(tmp_path)
    batch = inputs(6, token_dim=7)
    assert torch.equal(loaded(**batch), unet.eval()(**batch))
    fresh = SpatioTemporalUNet.from_config(loaded.config)
    assert fresh.state_dict().keys() == unet.state_dict().keys()


def test_inflating_leaves_the_original_alone(unet_2d):
    before = unet_2d.conv_in.weight.clone()
    model = inflate_unet(unet_2d)
    with torch.no_grad():
        next(model.spatial_parameters()).add_(1.0)
    assert torch.equal(unet_2d.conv_in.weight, before)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"down_block_types": ("SimpleCrossAttnDownBlock2D", "DownBlock2D")}, "SimpleCrossAttn"),
        ({"in_channels": 8}, "in_channels 4"),
    ],
)
def test_networks_that_do_not_fit_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        SpatioTemporalUNet({**TINY, "attention_head_dim": 8, **config}, in_channels=4)


@pytest.mark.parametrize("shortcut", [[0, 1, 2], [0, 1, 2, 6]])
def test_a_shortcut_from_channels_that_are_not_there(shortcut):
    with pytest.raises(ValueError, match=r"shortcut .* give 4 channels of 0 to 5"):
        SpatioTemporalUNet({**TINY, "attention_head_dim": 8}, 6, shortcut=shortcut)


@pytest.mark.parametrize("out_channels", [4, 5])
def test_a_shortcut_starts_as_channels_of_the_sample_and_learns(out_channels):
    chosen = [5, 2, 2, 0, 1][:out_channels]
    model = SpatioTemporalUNet(
        {**TINY, **SHAPES["sd-2"]}, 6, out_channels, TOKEN_DIM, shortcut=chosen
    )
    batch = inputs(6)
    out = model(**batch)
    assert torch.equal(out, batch["sample"][:, :, chosen])
    (out - 1.0).square().mean().backward()
    for layer in (model.direct, model.conv_out if out_channels == 5 else model.spatial.conv_out):
        assert layer.weight.grad.abs().max() > 0
    assert model.direct.weight in set(model.new_parameters())


def test_a_name_that_the_2d_network_does_not_have_is_refused():
    with pytest.raises(UserError, match="unet_2d: UNet2DConditionModel has no block_out_chanels"):
        SpatioTemporalUNet(TINY | {"block_out_chanels": (16, 32)}, 4, 4, TOKEN_DIM)
