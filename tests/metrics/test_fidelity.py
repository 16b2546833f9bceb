"""PSNR, SSIM, LPIPS and its stand-in."""

import pytest
import torch
from huggingface_hub import constants
from torch import nn
from torchmetrics.functional.image import lpips
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchvision.models import vgg

from movideo.errors import UserError
from movideo.metrics import LPIPS, PSNR, SSIM, RandomFeatureDistance
from tests.metrics.parts import judged, made_of, moving_scenes, random_clips


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        (PSNR(), PeakSignalNoiseRatio(data_range=2.0)),
        (SSIM(), StructuralSimilarityIndexMeasure(data_range=2.0)),
    ],
    ids=["PSNR", "SSIM"],
)
def test_means_over_clips_against_torchmetrics(metric, theirs):
    video, truth = random_clips(2), random_clips(2, seed=1)
    truth[1] = (video[1] + truth[1]) / 2  # the second is nearer
    metric.update(judged(video, truth=truth))
    expected = [theirs(*clips).item() for clips in zip(video, truth, strict=True)]
    # float32, summed in another order
    assert metric.compute().item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    assert metric.higher_is_better
    assert metric.protocol()["frames"] == "all, the key frame too"


def test_lpips_has_torchvisions_weights(tmp_path, monkeypatch):
    torch.manual_seed(0)
    trunk = vgg.make_layers(vgg.cfgs["D"])
    for layer in trunk:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    path = str(tmp_path / "vgg16-397923af.pth")
    torch.save({f"features.{name}": value for name, value in trunk.state_dict().items()}, path)
    metric = LPIPS(path)
    assert metric.unavailable() is None
    video, truth = random_clips(1), random_clips(1, seed=1)
    metric.update(judged(video, truth=truth))

    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda *_: trunk)
    expected = lpips._LPIPS(net="vgg", pnet_rand=True)(video[0], truth[0]).mean()
    assert metric.compute().item() == pytest.approx(expected.item(), rel=1e-5)


def test_lpips_without_weights_is_not_computed(tmp_path, monkeypatch):
    assert LPIPS().unavailable() == (
        "name torchvision's weights of VGG16 as its `pretrained`: the file vgg16-397923af.pth, or "
        "VGG16_Weights.IMAGENET1K_V1 where its hub can be reached"
    )
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "VGG16_Weights.IMAGENET1K_V1 cannot be loaded (" in (
        LPIPS("VGG16_Weights.IMAGENET1K_V1").unavailable()
    )
    with pytest.raises(UserError, match=r"gone\.pth cannot be loaded"):
        LPIPS("gone.pth")
    assert RandomFeatureDistance().unavailable() is None
    assert RandomFeatureDistance().name == "random-feature distance"


def test_warping_beats_grey_noise_and_a_frozen_clip():
    """On clips that move over 4 pixels, each given its own motion."""
    scenes = moving_scenes(4)
    shared = {}
    for metric in (PSNR(), SSIM(), RandomFeatureDistance(width=4)):
        found = {}
        for name, video in made_of(**scenes).items():
            cell = metric.clone()
            cell.update(judged(video, truth=scenes["truth"], shared=shared))
            found[name] = cell.compute().item() * (1 if metric.higher_is_better else -1)
        best = found.pop("warped")
        assert best > max(found.values()), (metric.name, best, found)
