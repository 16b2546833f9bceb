import math

import pytest
import torch

from movideo.diffusion import SampleRandomness
from movideo.hub.checkpoint import Checkpoint
from movideo.losses import FramePerceptualLoss, VGG16Features
from movideo.metrics import RandomFeatureDistance
from stages import LatentAutoencoder
from stages.latent_autoencoder import random_flow
from tests.stages.parts import ClipData, autoencoder, batch, trainer


def test_scaling_factor_brings_the_latent_to_unit_variance(tmp_path):
    stage = LatentAutoencoder(
        autoencoder(), optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-5)
    )
    runner = trainer(tmp_path, 12)
    runner.fit(stage, datamodule=ClipData())
    runner.save_checkpoint(tmp_path / "a.ckpt")
    part = Checkpoint.read(tmp_path / "a.ckpt", "autoencoder").component("autoencoder")
    clips = torch.cat([b["video"] for b in ClipData().train_dataloader()])
    with torch.no_grad():
        raw = part.encode(clips) / part.scaling_factor
    # at this rate the encoder hardly changes; batches of two clips differ in spread by some percent
    assert part.scaling_factor == pytest.approx(1 / raw.std().item(), rel=0.05)
    assert part.scaling_factor != autoencoder().scaling_factor
    assert not part.is_random

    resumed = LatentAutoencoder(autoencoder())
    trainer(tmp_path, 12).test(
        resumed, datamodule=ClipData(), ckpt_path=tmp_path / "a.ckpt", verbose=False
    )
    assert resumed.autoencoder.scaling_factor == part.scaling_factor


def test_a_perceptual_loss_counts_with_its_weight_and_does_not_learn(tmp_path):
    def terms(**options):
        return LatentAutoencoder(autoencoder(), **options)._step(batch(), None)

    plain = terms()
    seen = terms(perceptual=FramePerceptualLoss(VGG16Features(width=8), weight=0.5))
    term = seen["perceptual"]
    assert term > 0
    assert seen["loss"].item() == pytest.approx((plain["loss"] + 0.5 * term).item(), rel=1e-6)

    stage = LatentAutoencoder(
        autoencoder(), perceptual=FramePerceptualLoss(VGG16Features(width=8), weight=0.5)
    )
    before = [p.clone() for p in stage.perceptual.parameters()]
    runner = trainer(tmp_path, 2, limit_val_batches=1, val_check_interval=1)
    runner.fit(stage, datamodule=ClipData())
    assert all(map(torch.equal, stage.perceptual.parameters(), before))
    runner.save_checkpoint(tmp_path / "a.ckpt")
    assert not [k for k in torch.load(tmp_path / "a.ckpt")["state_dict"] if "perceptual" in k]


def test_validation_metrics_are_those_of_the_reconstruction(tmp_path):
    stage = LatentAutoencoder(autoencoder()).eval()
    found = trainer(tmp_path, 1, limit_val_batches=1).validate(stage, ClipData(), verbose=False)[0]
    video = batch(2)["video"]
    with torch.no_grad():
        decoded = stage.autoencoder.decode(stage.autoencoder.encode(video))
    squares = (decoded.clamp(-1, 1) - video).square().flatten(0, 1).flatten(1).mean(1)
    # per frame, then averaged; the range of 2 makes the 4
    assert found["val/psnr"] == pytest.approx(
        (10 * torch.log10(4 / squares)).mean().item(), abs=1e-3
    )
    expected = RandomFeatureDistance().distance(decoded.clamp(-1, 1), video).item()
    assert found["val/random-feature_distance"] == pytest.approx(expected, rel=1e-4)
    assert found["val/reconstruction"] == pytest.approx(
        (decoded - video).abs().mean().item(), rel=1e-4
    )


def test_posterior_noise_and_divergence_are_in_the_training_loss(tmp_path):
    heavy = LatentAutoencoder(autoencoder(), kl_weight=1.0)
    found = trainer(tmp_path, 1, limit_val_batches=1).validate(heavy, ClipData(), verbose=False)[0]
    total = found["val/reconstruction"] + found["val/kl"]
    assert found["val/loss"] == pytest.approx(total, rel=1e-5)
    assert found["val/kl"] > 0


class Draws(SampleRandomness):
    """Every draw is the same: 1 is the largest of a random flow."""

    def uniform(self, name, device="cpu"):
        return torch.tensor([{"right": 0.75, "zoom": 1.0}.get(name, 0.5)])


def test_a_random_flow_shifts_and_zooms_about_the_centre():
    flow = random_flow(Draws(("clip",)), (8, 16), torch.device("cpu"))
    zoom = math.exp(0.15) - 1
    assert flow.shape == (1, 2, 8, 16)
    # Half of the largest shift, 0.2 of 16 pixels; at the border also the zoom, of 7.5 and 3.5.
    assert flow[0, 0, 3, 15].item() == pytest.approx(1.6 + 7.5 * zoom, rel=1e-5)
    assert flow[0, 0, 3, 0].item() == pytest.approx(1.6 - 7.5 * zoom, rel=1e-5)
    assert flow[0, 1, 7, 4].item() == pytest.approx(3.5 * zoom, rel=1e-5)


@pytest.mark.parametrize(("moved", "share"), [(0.0, 0), (0.3, 0.3), (1.0, 1)])
def test_a_moved_latent_has_to_give_the_moved_frames(moved, share):
    clips = 200
    stage = LatentAutoencoder(autoencoder(), moved=moved)
    frames = torch.linspace(-1, 1, 16).expand(2 * clips, 3, 16, 16)
    randomness = SampleRandomness.of_training(0, 0, range(clips))
    latents, targets = stage._move(frames[:, :2, ::2, ::2], frames, randomness)
    changed = (targets != frames).flatten(1).any(1)
    # Three deviations of a binomial share of 200.
    assert changed.float().mean().item() == pytest.approx(share, abs=0.1)
    assert torch.equal(changed, (latents != frames[:, :2, ::2, ::2]).flatten(1).any(1))
    assert torch.equal(changed[::2], changed[1::2])  # the frames of a clip go one way
    if share:  # at the centre, away from borders, both are the same ramp
        middle = targets[:, 0, 7:9, 7:9].mean(dim=(1, 2)), latents[:, 0, 3:5, 3:5].mean(dim=(1, 2))
        # The subsampled ramp starts half a pixel of it, 1/15, to the left.
        assert (middle[0] - middle[1] - 1 / 15).abs().max() < 0.02


def test_it_is_trained_on_moved_latents(tmp_path):
    stages = [LatentAutoencoder(autoencoder(), moved=moved) for moved in (0.0, 1.0)]
    stages[1].load_state_dict(stages[0].state_dict())
    for stage in stages:
        trainer(tmp_path, 1, limit_val_batches=0).fit(stage, datamodule=ClipData())
    weights = [stage.autoencoder.model.decoder.conv_in.weight for stage in stages]
    assert not torch.equal(*weights)
