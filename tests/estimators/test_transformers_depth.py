"""Depth networks of transformers: the same outputs through our path, and what they mean."""

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    ViTConfig,
    ViTModel,
)

from movideo.errors import UserError
from movideo.estimators import TransformersDepth


def depth_anything(**settings):
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        mlp_ratio=2,
        out_indices=[1, 2],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        neck_hidden_sizes=[8, 8],
        reassemble_factors=[2, 1],
        fusion_hidden_size=8,
        head_hidden_size=4,
        head_in_index=-1,
        **settings,
    )
    return DepthAnythingForDepthEstimation(config)


def dpt():
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    return DPTForDepthEstimation(config)


MODELS = {
    "depth_anything": (depth_anything, 14, "inverse_depth"),
    "metric": (
        lambda: depth_anything(depth_estimation_type="metric", max_depth=20),
        14,
        "depth",
    ),
    "dpt": (dpt, 16, "inverse_depth"),
}


def save(kind, folder):
    make, multiple, gives = MODELS[kind]
    torch.manual_seed(0)
    model = make().eval()
    side = 32 if multiple == 16 else 56
    processor = DPTImageProcessor(
        size={"height": side, "width": side},
        keep_aspect_ratio=multiple == 14,
        ensure_multiple_of=multiple,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    with torch.no_grad():  # or so small a random network rectifies everything to 0
        for name, parameter in model.head.named_parameters():
            if "bias" in name:
                parameter.fill_(0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor, gives


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_the_librarys_own_depth_near_is_large(kind, tmp_path):
    model, processor, gives = save(kind, tmp_path)
    estimator = TransformersDepth(str(tmp_path))
    assert estimator.gives == gives
    assert not any(p.requires_grad for p in estimator.parameters())
    generator = torch.Generator().manual_seed(1)
    video = torch.rand(5, 3, 40, 64, generator=generator) * 2 - 1  # more than go at once
    pictures = list((video + 1) / 2)
    pixels = processor(pictures, do_rescale=False, return_tensors="pt")["pixel_values"]
    raw = model(pixel_values=pixels).predicted_depth
    expected = F.interpolate(raw[:, None], (40, 64), mode="bilinear", align_corners=False)
    if gives == "depth":
        expected = 1 / expected.clamp_min(0.1)
    found = estimator(video)
    assert found.shape == (5, 1, 40, 64)
    assert found.std() > 0
    # batches of other sizes may add in another order
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(found, estimator(video))


def test_settings_name_weights_and_preprocessing_not_the_place(tmp_path):
    for name in ("one", "copy"):
        save("depth_anything", tmp_path / name)
    _, processor, _ = save("depth_anything", tmp_path / "other")
    processor.image_mean = [0.5, 0.5, 0.5]
    processor.save_pretrained(tmp_path / "other")
    one, copy, other = (
        TransformersDepth(str(tmp_path / name)).settings() for name in ("one", "copy", "other")
    )
    assert one == copy
    assert one != other


def test_gives_can_be_said(tmp_path):
    save("dpt", tmp_path)
    assert TransformersDepth(str(tmp_path), gives="depth").gives == "depth"


def test_an_unknown_kind_is_refused(tmp_path, monkeypatch):
    save("dpt", tmp_path)
    monkeypatch.setattr("movideo.estimators.transformers_depth.GIVES", {})
    with pytest.raises(UserError, match=r"dpt gives depth or inverse depth.*`gives`$"):
        TransformersDepth(str(tmp_path))


@pytest.mark.parametrize("fault", ["empty", "other", "truncated", "pickle", "incomplete"])
def test_what_cannot_be_loaded_is_told_in_one_line(fault, tmp_path):
    folder = tmp_path / fault
    folder.mkdir()
    if fault == "other":
        config = ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
        ViTModel(config).save_pretrained(folder)
        DPTImageProcessor().save_pretrained(folder)
    elif fault != "empty":
        model, *_ = save("depth_anything", folder)
        weights = folder / "model.safetensors"
        if fault == "truncated":
            weights.write_bytes(weights.read_bytes()[:3000])
        elif fault == "pickle":
            weights.unlink()
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
        else:
            state = {k: v for k, v in model.state_dict().items() if "head.conv1" not in k}
            model.save_pretrained(folder, state_dict=state)
    with pytest.raises(UserError) as caught:
        TransformersDepth(str(folder))
    assert str(caught.value).startswith(f"{folder}: no depth network could be loaded (")
    assert "\n" not in str(caught.value)
