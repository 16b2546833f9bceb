"""The image encoder against open_clip's tower, walked by hand."""

import json
import math

import open_clip
import pytest
import torch
from open_clip.transformer import VisionTransformer
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import functional as pil

from movideo.errors import UserError
from movideo.hub import pretrained
from movideo.hub.checkpoint import build, describe
from movideo.models import ImageEncoder, PooledImageEncoder
from movideo.models.image_encoder import sinusoidal_positions

CONFIG = {
    "image_size": 32,
    "patch_size": 8,
    "width": 32,
    "layers": 2,
    "head_width": 16,
    "mlp_ratio": 2.0,
}
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


@pytest.fixture
def encoder() -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(None, CONFIG).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def last_norm(visual: VisionTransformer, pixels: torch.Tensor) -> torch.Tensor:
    """What leaves the tower's last layer norm in its ordinary forward pass."""
    seen = []
    hook = visual.ln_post.register_forward_hook(lambda module, args, output: seen.append(output))
    visual(pixels)
    hook.remove()
    return seen[-1]


@torch.no_grad()
def test_tokens_are_those_of_the_last_norm_plus_place(encoder, images):
    expected = last_norm(encoder.visual, ((images + 1) / 2 - CLIP_MEAN) / CLIP_STD)
    expected[:, 1:] += sinusoidal_positions(4, 4, 32)
    tokens = encoder(images)
    assert tokens.shape == (2, 17, 32) == (2, encoder.num_tokens, encoder.token_dim)
    # Same operations; bicubic at the same size may round the last bit.
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_pooled_token_is_what_clip_pools(images, tmp_path):
    """open_clip's own forward pass, with its projection made the identity."""
    torch.manual_seed(0)
    encoder = PooledImageEncoder(None, CONFIG).eval()
    clip = open_clip.model._build_vision_tower(
        32,
        {
            "image_size": 32,
            "patch_size": 8,
            "width": 32,
            "layers": 2,
            "head_width": 16,
            "mlp_ratio": 2.0,
        },
    )
    clip.load_state_dict({"proj": torch.eye(32), **encoder.visual.state_dict()})
    expected = clip.eval()(((images + 1) / 2 - CLIP_MEAN) / CLIP_STD)
    tokens = encoder(images)
    assert tokens.shape == (2, 1, 32) == (2, encoder.num_tokens, encoder.token_dim)
    # as above
    torch.testing.assert_close(tokens[:, 0], expected, atol=1e-5, rtol=1e-5)
    # The same weights serve both; a hash tells them apart, and the class comes back.
    encoder.save_pretrained(tmp_path)
    whole = ImageEncoder(str(tmp_path))
    # loaded weights lie elsewhere in memory: sums in another order
    torch.testing.assert_close(whole(images)[:, :1], tokens, atol=1e-5, rtol=1e-5)
    assert whole.fingerprint() != encoder.fingerprint()
    loaded = build(describe(PooledImageEncoder(str(tmp_path)), frozen=True))
    assert type(loaded) is PooledImageEncoder
    assert loaded.fingerprint() == encoder.fingerprint()


def test_positions_by_hand():
    code = sinusoidal_positions(2, 3, 8)
    assert code.shape == (6, 8)
    # Place (row 1, column 2) is number 5; frequencies are 1 and 1/100 (10000 ** (-1/2)).
    angles = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]
    angles += [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    torch.testing.assert_close(code[5], torch.tensor(angles))
    assert code.unique(dim=0).shape == (6, 8)


@torch.no_grad()
def test_large_images_shrink_as_pillow_does(encoder):
    # A smooth picture: 8-bit rounding is then the only difference left.
    grid = torch.linspace(0, 6, 96)
    smooth = (
        torch.stack(
            [
                grid.sin() * grid.cos()[:, None],
                grid.cos()[:, None] * grid.cos(),
                (grid + grid[:, None]).sin(),
            ]
        )
        * 0.8
    )
    picture = pil.to_pil_image((smooth + 1) / 2).resize((32, 32), Image.Resampling.BICUBIC)
    expected = (pil.to_tensor(picture) - CLIP_MEAN) / CLIP_STD
    actual = encoder._normalise(smooth[None])[0]
    # Two roundings to 8 bits, 1/255 each at most, over a deviation of 0.26.
    torch.testing.assert_close(actual, expected, atol=2 / 255 / 0.26, rtol=0)


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(encoder, images, tmp_path):
    encoder.save_pretrained(tmp_path)
    loaded = ImageEncoder(str(tmp_path)).eval()
    assert encoder.is_random
    assert not loaded.is_random
    assert loaded.fingerprint() == encoder.fingerprint()
    assert torch.equal(loaded(images), encoder(images))


def test_config_rebuilds_and_a_loaded_state_is_not_random(encoder):
    rebuilt = ImageEncoder(None, encoder.config)
    assert rebuilt.is_random
    assert rebuilt.config == encoder.config
    assert rebuilt.fingerprint() != encoder.fingerprint()
    rebuilt.load_state_dict(encoder.state_dict())
    assert not rebuilt.is_random
    assert rebuilt.fingerprint() == encoder.fingerprint()


def test_every_weight_takes_part(encoder, images):
    encoder(images).square().sum().backward()
    idle = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert idle == []


@pytest.fixture
def clip_folder(tmp_path):
    """A whole tiny CLIP, random, saved as open_clip's own hub folders are."""
    config = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 16,
            "width": 32,
            "layers": 1,
            "head_width": 16,
        },
        "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1},
    }
    torch.manual_seed(3)
    clip = open_clip.CLIP(**config).eval()
    preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    written = {"model_cfg": config, "preprocess_cfg": preprocessing}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(written))
    save_file(clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    return tmp_path, clip.visual


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
@torch.no_grad()
def test_an_open_clip_folder_loads_with_its_own_normalisation(
    clip_folder, images, prefix, tmp_path
):
    folder, visual = clip_folder
    encoder = ImageEncoder(f"{prefix}{folder}").eval()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    expected = last_norm(visual, ((images + 1) / 2 - mean) / std)
    expected[:, 1:] += sinusoidal_positions(2, 2, 32)
    # Same operations; bicubic at the same size may round the last bit.
    torch.testing.assert_close(encoder(images), expected, atol=1e-5, rtol=1e-5)
    assert not encoder.is_random
    encoder.save_pretrained(tmp_path / "ours")
    assert torch.equal(ImageEncoder(str(tmp_path / "ours")).eval()(images), encoder(images))


def test_an_open_clip_name_with_a_weight_file(tmp_path, monkeypatch):
    """`MODEL:FILE`, with a tiny model registered under a name."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 16,
            "width": 32,
            "layers": 1,
            "head_width": 16,
        },
        "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-test", config)
    clip = open_clip.CLIP(**config)
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    encoder = ImageEncoder(f"tiny-test:{tmp_path / 'clip.safetensors'}")
    assert torch.equal(encoder.visual.conv1.weight, clip.visual.conv1.weight)
    assert not encoder.is_random
    assert isinstance(encoder.visual.transformer.resblocks[0].mlp.gelu, nn.GELU)


def test_errors_name_what_is_wrong(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"image_encoder.*make weights"):
        ImageEncoder()
    with pytest.raises(UserError, match="'head_width' is missing"):
        ImageEncoder(None, {"width": 32})
    with pytest.raises(UserError, match="no_such_argument"):
        ImageEncoder(None, CONFIG | {"no_such_argument": 1})
    with pytest.raises(UserError, match="width 34"):
        ImageEncoder(None, CONFIG | {"width": 34, "head_width": 17})
    with pytest.raises(UserError, match="ViT-H-14: neither"):
        ImageEncoder("ViT-H-14")
    with pytest.raises(UserError, match="no-such-model:tag"):
        ImageEncoder("no-such-model:tag")
    with pytest.raises(UserError, match=r"config\.json"):
        ImageEncoder(str(tmp_path))
    encoder.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"model\.safetensors"):
        ImageEncoder(str(tmp_path))


def test_a_tower_without_tokens_is_refused(tmp_path):
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "width": 8, "layers": [1, 1, 1, 1]},
        "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    clip = open_clip.CLIP(**config)
    save_file(clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    with pytest.raises(UserError, match="ModifiedResNet"):
        ImageEncoder(str(tmp_path))
