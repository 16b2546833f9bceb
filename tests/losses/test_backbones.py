"""The frozen networks: where their weights come from, what they give, that they stay frozen."""

import re
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import VGG, vgg
from torchvision.models.video import s3d

from movideo.errors import UserError
from movideo.losses import S3DFeatures, VGG16Features


def narrow() -> VGG16Features:
    return VGG16Features(width=4)


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    """What a file of S3D's trained weights holds."""
    torch.manual_seed(5)
    return s3d().state_dict()


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_random_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = VGG16Features(width=4, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert same_weights(first, VGG16Features(width=4, seed=3))
    assert not same_weights(first, VGG16Features(width=4, seed=4))
    assert first.is_random


def test_s3d_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    assert same_weights(S3DFeatures(seed=1), S3DFeatures(seed=1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", [narrow, S3DFeatures])
def test_stays_frozen_but_passes_gradients_on(make):
    backbone = make().train()
    assert not any(module.training for module in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    shape = (2, 3, 32, 32) if make is narrow else (1, 3, 3, 32, 32)
    x = torch.rand(shape, requires_grad=True)
    backbone(x)[-1].square().sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize("make", [narrow, S3DFeatures])
def test_random_weights_keep_the_scale_at_every_depth(make):
    torch.manual_seed(0)
    shape = (4, 3, 64, 64) if make is narrow else (1, 8, 3, 64, 64)
    for level in make()(torch.rand(shape) * 2 - 1):
        assert 0.1 < level.std().item() < 10


@torch.no_grad()
@pytest.mark.parametrize(("side", "levels"), [(1, 1), (3, 2), (15, 4), (16, 5), (64, 5)])
def test_vgg_goes_as_deep_as_the_size_allows(side, levels):
    backbone = narrow()
    found = [tuple(level.shape[1:]) for level in backbone(torch.zeros(2, 3, side, side + 20))]
    expected = [
        (channels, side >> i, (side + 20) >> i) for i, channels in enumerate((4, 8, 16, 32, 32))
    ]
    assert found == expected[:levels]
    assert backbone.channels == (4, 8, 16, 32, 32)


@torch.no_grad()
def test_vgg_at_its_own_width_is_torchvisions(tmp_path):
    """Whole or features alone, pickled or in safetensors."""
    torch.manual_seed(0)
    layers = vgg.make_layers(vgg.cfgs["D"])
    state = layers.state_dict()
    save_file(state, tmp_path / "features.safetensors")
    whole = {f"features.{name}": tensor for name, tensor in state.items()}
    torch.save({**whole, "classifier.0.weight": torch.zeros(1)}, tmp_path / "whole.pth")

    frames = torch.rand(2, 3, 32, 32) * 2 - 1
    x = frames - torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
    x, expected = x / torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in (3, 8, 15, 22, 29):
            expected.append(x)
    for name in ("features.safetensors", "whole.pth"):
        backbone = VGG16Features(str(tmp_path / name))
        assert not backbone.is_random
        assert backbone.channels == (64, 128, 256, 512, 512)
        for found, level in zip(backbone(frames), expected, strict=True):
            assert torch.equal(found, level)  # the same operations


@torch.no_grad()
def test_s3d_is_torchvisions(tmp_path, trunk):
    torch.save(trunk, tmp_path / "s3d.pt")
    backbone = S3DFeatures(str(tmp_path / "s3d.pt"))
    assert not backbone.is_random
    network = s3d().eval()
    network.load_state_dict(trunk)
    video = torch.rand(1, 5, 3, 64, 64) * 2 - 1
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    scaled = ((video + 1) / 2 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    for found, depth in zip(backbone(video), (1, 4, 7, 13), strict=True):
        expected = network.features[:depth](scaled.transpose(1, 2))
        # the colours are scaled in another memory layout
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("frames", "side"), [(1, 64), (2, 17), (17, 32)])
def test_s3d_takes_clips_of_any_size(frames, side):
    backbone = S3DFeatures()
    found = [tuple(level.shape) for level in backbone(torch.zeros(2, frames, 3, side, side))]
    halves, quarters = -(-frames // 2), -(-frames // 4)
    assert found == [
        (2, channels, depth, -(-side // scale), -(-side // scale))
        for channels, depth, scale in zip(
            backbone.channels, (halves, halves, halves, quarters), (2, 4, 8, 16), strict=True
        )
    ]


def test_the_hubs_weights_go_by_their_name(monkeypatch, trunk):
    asked = []

    def fetch(url, **kwargs):
        asked.append((url.rsplit("/", 1)[1], kwargs["check_hash"]))
        return trunk

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    assert not S3DFeatures("S3D_Weights.KINETICS400_V1").is_random
    assert asked == [("s3d-d76dad2f.pth", True)]


def test_an_unreachable_hub_is_told_in_one_line(monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(UserError, match=r"^pretrained: VGG16_Weights.*not known.*null[^\n]*$"):
        VGG16Features("VGG16_Weights.IMAGENET1K_V1")


def write_bad_file(kind: str, path, trunk) -> None:
    if kind == "missing":
        return
    if kind == "code":
        torch.save({"model": VGG}, path)
    elif kind == "not a mapping":
        torch.save([torch.zeros(2)], path)
    elif kind == "other shape":
        torch.save({**trunk, "features.3.1.0.weight": torch.zeros(2)}, path)
    elif kind == "keys missing":
        torch.save({k: v for k, v in trunk.items() if not k.startswith("features.12")}, path)
    elif kind == "wrapped":
        torch.save({"state_dict": trunk}, path)
    elif kind == "truncated":
        torch.save(trunk, path)
        path.write_bytes(path.read_bytes()[:100_000])
    else:
        path.write_bytes(b"" if kind == "empty" else b"no weights at all")


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("missing", "a.pth", "No such file"),
        ("missing", "a.safetensors", "No such file"),
        ("missing", "S3D_Weights.NONE", "neither such a file nor such a name"),
        ("missing", "VGG16_Weights.IMAGENET1K_V1", "neither such a file nor such a name"),
        ("garbage", "a.pth", "not a plain pickle"),
        ("garbage", "a.safetensors", "header too"),
        ("empty", "a.pth", "not a plain pickle"),
        ("empty", "a.safetensors", "header too"),
        ("truncated", "a.pth", "zip archive"),
        ("code", "a.pt", "not a plain pickle"),
        ("not a mapping", "a.pt", "no state dict"),
        ("other shape", "a.pt", r"features\.3\.1\.0\.weight is missing or of another shape"),
        ("keys missing", "a.pt", r"features\.12\..* is missing or of another shape"),
        ("wrapped", "a.pt", r"features\.0\..* is missing or of another shape"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(kind, name, reason, tmp_path, trunk):
    path = tmp_path / name if name.startswith("a.") else name
    write_bad_file(kind, path, trunk)
    with pytest.raises(UserError) as caught:
        S3DFeatures(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"pretrained: {path} cannot be loaded (")
    assert re.search(reason, message)
    assert "S3D_Weights.KINETICS400_V1" in message


def test_pretrained_weights_have_one_width():
    with pytest.raises(UserError, match=r"^width: 32; [^\n]*set pretrained to null$"):
        VGG16Features("VGG16_Weights.IMAGENET1K_V1", width=32)
    with pytest.raises(UserError, match=r"^width: 0; "):
        VGG16Features(width=0)
