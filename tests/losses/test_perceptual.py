"""Perceptual distances against torchmetrics' LPIPS and by hand."""

import pytest
import torch
from torchmetrics.functional.image import lpips
from torchvision.models import vgg

from movideo.losses import FramePerceptualLoss, S3DFeatures, VGG16Features, VideoPerceptualLoss
from movideo.losses.perceptual import feature_distance


@pytest.fixture(scope="module")
def frame_loss() -> FramePerceptualLoss:
    return FramePerceptualLoss(VGG16Features(width=8))


@pytest.fixture(scope="module")
def video_loss() -> VideoPerceptualLoss:
    return VideoPerceptualLoss(S3DFeatures())


@pytest.fixture(params=["frame_loss", "video_loss"])
def loss(request):
    return request.getfixturevalue(request.param)


def clips(seed: int, batch: int = 2, frames: int = 3, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(batch, frames, 3, side, side, generator=generator) - 1


@torch.no_grad()
def test_with_trained_weights_it_is_lpips(tmp_path, monkeypatch):
    torch.manual_seed(0)
    trunk = vgg.make_layers(vgg.cfgs["D"])
    for layer in trunk:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    state = {f"features.{name}": tensor for name, tensor in trunk.state_dict().items()}
    torch.save(state, tmp_path / "vgg.pth")
    loss = FramePerceptualLoss(VGG16Features(str(tmp_path / "vgg.pth")))
    assert loss.curve == "perceptual_2d_lpips"

    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda *_: trunk)
    reference = lpips._LPIPS(net="vgg", pnet_rand=True)
    decoded, truth = clips(1), clips(2)
    expected = reference(decoded.flatten(0, 1), truth.flatten(0, 1)).view(2, 3).mean(dim=1)
    # sums over channels and places in another order, float32
    torch.testing.assert_close(loss.distances(decoded, truth), expected, rtol=1e-5, atol=0)
    assert loss(decoded, truth).item() == pytest.approx(expected.mean().item(), rel=1e-5)


def test_distance_by_hand():
    """Two levels; the first of two places, of which one differs."""
    first = [torch.tensor([[[3.0, 1.0], [4.0, 0.0]]]), torch.tensor([[[2.0]]])]
    second = [torch.tensor([[[5.0, 1.0], [0.0, 0.0]]]), torch.tensor([[[-7.0]]])]
    # (0.6, 0.8) against (1, 0): squared (0.16, 0.64), half of the places; 1 against -1: 4
    weights = [torch.tensor([1.0, 0.5]), torch.tensor([0.1])]
    expected = (0.16 + 0.5 * 0.64) / 2 + 0.1 * 4
    assert feature_distance(first, second, weights).tolist() == pytest.approx([expected])


def test_random_features_count_all_channels_alike(frame_loss):
    assert frame_loss.curve == "perceptual_2d_random-features"
    decoded, truth = clips(1, 1, 1), clips(2, 1, 1)
    levels = zip(frame_loss.features(decoded), frame_loss.features(truth), strict=True)
    expected = sum(
        (torch.nn.functional.normalize(a) - torch.nn.functional.normalize(b))
        .square()
        .sum(dim=1)
        .mean()
        for a, b in levels
    )
    # without the root's epsilon of 1e-8, against squared lengths of a few units
    assert frame_loss(decoded, truth).item() == pytest.approx(expected.item(), rel=1e-5)


def test_equal_videos_have_no_distance(loss):
    video = clips(3)
    assert loss(video.clone().requires_grad_(), video).item() == 0


def test_forward_is_the_mean_over_clips_which_do_not_mix(loss):
    decoded, truth = clips(1), clips(2)
    decoded[1] = truth[1]
    distances = loss.distances(decoded, truth)
    assert distances.shape == (2,)
    assert distances[0] > 0
    assert distances[1] == 0
    assert loss(decoded, truth).item() == pytest.approx(distances.mean().item())


def test_gradient_reaches_the_decoded_video_alone(loss):
    decoded, truth = clips(1).requires_grad_(), clips(2).requires_grad_()
    loss(decoded, truth).backward()
    assert decoded.grad.isfinite().all()
    assert (decoded.grad.abs().sum(dim=(2, 3, 4)) > 0).all()  # every frame
    assert truth.grad is None
    assert not [p for p in loss.parameters() if p.requires_grad]


def test_frames_without_any_response_have_a_finite_slope(frame_loss):
    black = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1).expand(1, 1, 3, 32, 32).clone()
    frame_loss(black.requires_grad_(), clips(1, 1, 1)).backward()  # 0 once scaled
    assert black.grad.isfinite().all()


def test_a_closer_video_is_closer(loss):
    truth, noise = clips(1), clips(2)
    near, far = loss(truth + 0.05 * noise, truth), loss(truth + 0.5 * noise, truth)
    assert 0 < near < far


@torch.no_grad()
def test_only_the_video_loss_sees_the_order_of_frames(frame_loss, video_loss):
    decoded, truth = clips(1, 1, 8), clips(2, 1, 8)
    order = torch.tensor([3, 0, 6, 1, 7, 2, 5, 4])
    shuffled = decoded[:, order], truth[:, order]
    # the same frames, added up in another order
    assert frame_loss(*shuffled).item() == pytest.approx(
        frame_loss(decoded, truth).item(), rel=1e-5
    )
    assert abs(video_loss(*shuffled).item() / video_loss(decoded, truth).item() - 1) > 1e-3


@torch.no_grad()
def test_is_computed_in_float32_within_autocast(loss):
    decoded, truth = clips(1).bfloat16(), clips(2)
    expected = loss(decoded.float(), truth)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(decoded, truth)
    assert torch.equal(found, expected)


def test_the_video_loss_says_which_features_it_compares(video_loss, tmp_path):
    assert video_loss.curve == "perceptual_3d_random-features"
    torch.save(video_loss.backbone.features.state_dict(), tmp_path / "s3d.pth")
    trained = VideoPerceptualLoss(S3DFeatures(str(tmp_path / "s3d.pth")), weight=0.3, start_step=7)
    assert trained.curve == "perceptual_3d_s3d"
    assert (trained.weight, trained.start_step) == (0.3, 7)
    decoded, truth = clips(1), clips(2)
    assert torch.equal(trained(decoded, truth), video_loss(decoded, truth))
