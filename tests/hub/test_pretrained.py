"""Networks of diffusers from every place they may lie in, and what is refused."""

import pickle

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file

from movideo.errors import UserError
from movideo.hub.checkpoint import build, describe
from movideo.models import SpatioTemporalUNet, VideoAutoencoder

UNET = {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "attention_head_dim": 2,
}
VAE = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
}
# In Stable Diffusion's own files the networks of the VAE have other names; its first ones suffice.
ORIGINAL_VAE_NAMES = {
    "encoder.conv_in": "first_stage_model.encoder.conv_in",
    "quant_conv": "first_stage_model.quant_conv",
}


@pytest.fixture
def unet_2d():
    torch.manual_seed(0)
    return UNet2DConditionModel(**UNET).eval()


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return AutoencoderKL(**VAE).eval()


def contiguous(module):
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


def same_as_2d(unet_2d, model):
    """At the start a clip of one frame gives what the 2-D network gives."""
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(2, 1, 10, 8, 8, generator=generator)
    tokens = torch.randn(2, 3, 7, generator=generator)
    with torch.no_grad():
        expected = unet_2d(sample[:, 0, :4], 5, model.token_projection(tokens)).sample
        found = model.eval()(sample, 5, tokens, torch.tensor([8.0, 8.0]))[:, 0]
    # float32 and outputs near 1: keys shared by frames change the order of sums, nothing else
    return (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("place", ["folder", "subfolder", "file"])
def test_a_2d_unet_becomes_spatio_temporal(unet_2d, place, tmp_path):
    arguments = {"pretrained": str(tmp_path)}
    if place == "subfolder":
        unet_2d.save_pretrained(tmp_path / "unet")
        arguments["subfolder"] = "unet"
    elif place == "file":
        arguments["pretrained"] = str(tmp_path / "unet.safetensors")
        save_file(contiguous(unet_2d), arguments["pretrained"])
    else:
        unet_2d.save_pretrained(tmp_path)
    model = SpatioTemporalUNet(UNET, in_channels=10, image_token_dim=7, **arguments)
    assert model.training  # like any module that was just made
    assert same_as_2d(unet_2d, model)
    assert all(p.requires_grad for p in model.parameters())
    old = {name for name, _ in unet_2d.named_parameters()}
    spatial = {id(p) for p in model.spatial_parameters()}
    assert {
        n.removeprefix("spatial.") for n, p in model.named_parameters() if id(p) in spatial
    } == old
    assert len(spatial) + len(list(model.new_parameters())) == len(list(model.parameters()))


def test_a_checkpoint_rebuilds_without_the_pretrained_folder(unet_2d, tmp_path):
    unet_2d.save_pretrained(tmp_path / "2d")
    model = SpatioTemporalUNet(
        UNET, 10, image_token_dim=7, pretrained=str(tmp_path / "2d"), gradient_checkpointing=True
    )
    described = describe(model, frozen=False)
    assert str(tmp_path) not in str(described)
    rebuilt = build(described, model.state_dict())
    assert same_as_2d(unet_2d, rebuilt)
    assert model.is_gradient_checkpointing
    assert not rebuilt.is_gradient_checkpointing
    model.save_pretrained(tmp_path / "ours")
    again = SpatioTemporalUNet.from_pretrained(tmp_path / "ours", low_cpu_mem_usage=False)
    assert same_as_2d(unet_2d, again)


@pytest.mark.parametrize("names", ["diffusers'", "original"])
def test_an_autoencoder_from_one_file(vae, names, tmp_path):
    path = tmp_path / "vae.safetensors"
    # diffusers knows the original names by these; what it finds in neither form is missing
    save_file(contiguous(vae), path)
    if names == "original":
        pytest.importorskip("diffusers.loaders.single_file_utils")
        save_file(to_original(contiguous(vae)), path)
    loaded = VideoAutoencoder(str(path), VAE)
    assert not loaded.is_random
    for name, tensor in vae.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    rebuilt = build(describe(loaded, frozen=True))
    assert rebuilt.fingerprint() == loaded.fingerprint()


def to_original(state):
    """The names of Stable Diffusion's own files, as its `ldm` code has them."""
    parts = [
        ("encoder.down_blocks.", "encoder.down."),
        (".resnets.", ".block."),
        (".downsamplers.0.", ".downsample."),
        (".conv_shortcut.", ".nin_shortcut."),
        (".conv_norm_out.", ".norm_out."),
        ("mid_block.attentions.0.", "mid.attn_1."),
        ("mid_block.block.0.", "mid.block_1."),
        ("mid_block.block.1.", "mid.block_2."),
        (".group_norm.", ".norm."),
        (".to_q.", ".q."),
        (".to_k.", ".k."),
        (".to_v.", ".v."),
        (".to_out.0.", ".proj_out."),
        (".upsamplers.0.", ".upsample."),
    ]
    original = {}
    for name, tensor in state.items():
        for old, new in parts:
            name = name.replace(old, new)
        if "decoder.up_blocks." in name:  # numbered from the other end
            head, level, tail = (
                name.partition("up_blocks.")[0],
                *name.split("up_blocks.")[1].split(".", 1),
            )
            name = f"{head}up.{len(VAE['block_out_channels']) - 1 - int(level)}.{tail}"
        if ".attn_1." in name and name.endswith("weight") and ".norm." not in name:
            tensor = tensor[:, :, None, None]
        original[f"first_stage_model.{name}"] = tensor
    return original


@pytest.fixture
def bad_places(unet_2d, vae, tmp_path):
    """Path by kind of fault."""
    vae.save_pretrained(tmp_path / "vae")
    unet_2d.save_pretrained(tmp_path / "truncated")
    weights = tmp_path / "truncated" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    unet_2d.save_pretrained(tmp_path / "pickle", safe_serialization=False)
    pickled = tmp_path / "pickled.safetensors"
    pickled.write_bytes(pickle.dumps({"a": 1}))
    save_file({"conv_in.weight": torch.zeros(16, 4, 3, 3)}, tmp_path / "part.safetensors")
    torch.save(unet_2d.state_dict(), tmp_path / "unet.pth")
    unet_2d.save_pretrained(tmp_path / "more")
    more = contiguous(unet_2d) | {"conv_none.weight": torch.zeros(1)}
    save_file(more, tmp_path / "more" / weights.name, {"format": "pt"})
    return tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vae", "is missing"),
        ("more", "conv_none.weight is unexpected"),
        ("truncated", "Unable to load weights"),
        ("pickle", "safetensors"),
        ("pickled.safetensors", "no safetensors file"),
        ("part.safetensors", "not all of its weights are there"),
        ("unet.pth", "not a .safetensors file"),
    ],
)
def test_what_is_no_2d_unet_is_told_in_one_line(bad_places, name, reason):
    with pytest.raises(UserError, match=reason) as caught:
        SpatioTemporalUNet(UNET, pretrained=str(bad_places / name))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{bad_places / name}: ")


def test_another_architecture_names_what_differs(unet_2d, vae, tmp_path):
    unet_2d.save_pretrained(tmp_path / "unet")
    wanted = UNET | {"attention_head_dim": 4}  # the same shapes, other results
    with pytest.raises(UserError, match=r"has attention_head_dim 2, but the config says 4"):
        SpatioTemporalUNet(wanted, pretrained=str(tmp_path / "unet"))
    vae.save_pretrained(tmp_path / "vae")
    with pytest.raises(UserError, match=r"has scaling_factor 0\.18215, but the config says 0\.5"):
        VideoAutoencoder(str(tmp_path / "vae"), VAE | {"scaling_factor": 0.5})
    save_file(contiguous(vae), tmp_path / "vae.safetensors")
    with pytest.raises(UserError, match="does not say its architecture"):
        VideoAutoencoder(str(tmp_path / "vae.safetensors"))
