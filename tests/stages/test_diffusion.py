"""Randomness by place in the global batch, drops, and what stages 1 and 2 make of a batch."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler

from movideo.errors import UserError
from movideo.hub.pretrained import published_noise
from movideo.models import SpatioTemporalUNet
from movideo.motion.key_frame import KeyFrameOnGrid
from movideo.ops import resize_flow, visible_mask, warp
from stages import DepthFlowDiffusion, LatentVideoDiffusion
from stages.randomness import training_randomness
from tests.stages.parts import (
    FRAMES,
    GRID,
    IMAGE_ENCODER,
    STATISTICS,
    UNET,
    ClipData,
    batch,
    motion_parts,
    trainer,
    unet,
    video_parts,
)


def keys(size, batch_idx=0, rank=0, world_size=1, accumulate=1):
    """Keys of one batch's draws as one of several processes makes them."""
    runner = SimpleNamespace(
        accumulate_grad_batches=accumulate, world_size=world_size, global_rank=rank, global_step=7
    )
    return training_randomness(runner, 0, size, batch_idx).keys


@pytest.fixture(scope="module")
def motion_stage():
    return DepthFlowDiffusion(**motion_parts()).eval()


@pytest.fixture(scope="module")
def video_stage():
    return LatentVideoDiffusion(**video_parts()).eval()


def test_draws_of_two_ranks_are_those_of_one_process():
    alone = keys(4)
    assert len(set(alone)) == 4
    # DistributedSampler deals out every second clip.
    assert keys(2, rank=0, world_size=2) == alone[0::2]
    assert keys(2, rank=1, world_size=2) == alone[1::2]


def test_accumulated_batches_draw_as_one():
    alone = keys(4)
    parts = [keys(2, batch_idx=i, accumulate=2) for i in (4, 5)]
    assert parts[0] + parts[1] == alone


def test_ranks_and_accumulation_together():
    alone = keys(4)
    for rank in (0, 1):
        parts = [keys(1, batch_idx=i, rank=rank, world_size=2, accumulate=2) for i in (0, 1)]
        assert parts[0] + parts[1] == alone[rank::2]


@pytest.mark.parametrize("kind", [DepthFlowDiffusion, LatentVideoDiffusion])
def test_two_halves_accumulated_train_as_one_batch(tmp_path, kind):
    parts = motion_parts if kind is DepthFlowDiffusion else video_parts

    def weights(batch_size, accumulate):
        stage = kind(**parts(optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1)))
        runner = trainer(tmp_path, 2, accumulate_grad_batches=accumulate)
        runner.fit(stage, datamodule=ClipData(8, batch_size))
        assert runner.global_step == 2
        return torch.cat([p.flatten() for p in stage.unet.parameters()])

    # float32: sums over the batch in another order
    torch.testing.assert_close(weights(4, 1), weights(2, 2), rtol=1e-4, atol=1e-5)


def test_warped_latent_is_dropped_for_whole_clips_and_the_mask_stays(video_stage):
    clips = batch(8)
    full = video_stage.motion_condition(clips, coarse=None)
    dropped = torch.arange(8) % 2 == 0
    rest = full.without_warped_latent(dropped)
    assert (rest.warped_latent[dropped] == 0).all()
    assert torch.equal(rest.warped_latent[~dropped], full.warped_latent[~dropped])
    assert torch.equal(rest.visible, full.visible)
    assert torch.equal(rest.depth, full.depth)


@torch.no_grad()
def test_training_drops_half_of_the_warped_latents(video_stage):
    from movideo.diffusion import SampleRandomness

    clips = batch(64, size=(8, 8))
    randomness = SampleRandomness.of_training(0, 0, range(64))
    condition = video_stage.condition(clips, randomness)
    warped = condition[:, :, 1:-1].abs().amax((1, 2, 3, 4))
    # 64 fair coins: a share outside 1/4 to 3/4 has a probability under 1e-4
    assert 16 <= int((warped == 0).sum()) <= 48


@torch.no_grad()
def test_coarse_motion_is_the_flow_down_to_the_grid_and_back(video_stage):
    clips = batch(2)
    chosen = video_stage.motion_condition(clips, coarse=torch.tensor([True, False]))
    sharp = video_stage.motion_condition(clips, coarse=None)
    down_and_up = {
        name: resize_flow(resize_flow(clips[name], GRID), (16, 16))
        for name in ("flow_i2v", "flow_v2i")
    }
    everything = torch.tensor([True, True])  # what came through the grid goes through it unchanged
    expected = video_stage.motion_condition({**clips, **down_and_up}, coarse=everything)
    assert torch.equal(chosen.channels()[0], expected.channels()[0])
    assert torch.equal(chosen.channels()[1], sharp.channels()[1])
    assert not torch.equal(expected.channels()[0], sharp.channels()[0])


@torch.no_grad()
def test_mask_is_computed_at_full_resolution(video_stage):
    clips = batch(1)
    # A flow that misses by one pixel of the video is half a pixel on the latent's grid.
    clips["flow_i2v"], clips["flow_v2i"] = torch.zeros(2, 1, FRAMES, 2, 16, 16)
    clips["flow_i2v"][:, 0, 0] = 0.8
    mask = visible_mask(clips["flow_i2v"], clips["flow_v2i"])
    assert (mask[:, 0] == 0).all()
    condition = video_stage.motion_condition(clips, coarse=None)
    assert (condition.visible[:, 0] == 0).all()
    assert (condition.channels()[:, 0, 1:-1] == 0).all()
    assert (condition.visible[:, 1:] == 1).all()


@torch.no_grad()
def test_condition_at_the_key_frame_is_the_key_latent(video_stage):
    clips = batch(2)
    condition = video_stage.motion_condition(clips, coarse=None)
    key = FRAMES // 2
    latents = video_stage.target(clips)
    assert (condition.visible[:, key] == 1).all()
    # the same frame, encoded in another batch
    torch.testing.assert_close(condition.warped_latent[:, key], latents[:, key], atol=1e-5, rtol=0)


def test_spread_of_the_labels_goes_into_the_checkpoint_and_comes_back(tmp_path):
    stage = DepthFlowDiffusion(**motion_parts())
    runner = trainer(tmp_path, 1)
    runner.fit(stage, datamodule=ClipData())
    assert stage.motion_space.flow_std == STATISTICS.flow_std
    runner.save_checkpoint(tmp_path / "a.ckpt")
    tested = DepthFlowDiffusion(**motion_parts())
    results = trainer(tmp_path, 1).test(
        tested, datamodule=ClipData(), ckpt_path=tmp_path / "a.ckpt", verbose=False
    )
    assert tested.motion_space.depth_std == STATISTICS.depth_std
    assert tested.motion_space.grid == GRID
    assert {"test/end_point_error", "test/depth_error", "test/scale_error"} <= set(results[0])
    assert all(torch.isfinite(torch.tensor(value)) for value in results[0].values())


def test_validation_loss_repeats_and_drops_nothing(tmp_path):
    stage = LatentVideoDiffusion(**video_parts(token_drop=1.0, warped_latent_drop=1.0))
    calm = LatentVideoDiffusion(**video_parts(token_drop=0.0, warped_latent_drop=0.0))
    losses = [
        trainer(tmp_path, 1, limit_val_batches=1).validate(each, ClipData(), verbose=False)[0]
        for each in (stage, stage, calm)
    ]
    assert losses[0] == losses[1] == losses[2]


@torch.no_grad()
def test_samples_belong_to_clips_not_to_batches(motion_stage):
    both = motion_stage.generate(batch(2))
    one = motion_stage.generate({k: v[1:] for k, v in batch(2).items()})
    # float32 sums in another order, times a scale of a few pixels
    torch.testing.assert_close(both.depth[1:], one.depth, atol=1e-3, rtol=0)
    assert not torch.allclose(both.depth[0], both.depth[1], atol=1e-2)


def test_test_measures_generated_videos_and_their_ceiling(tmp_path):
    stage = LatentVideoDiffusion(**video_parts())
    found = trainer(tmp_path, 1).test(stage, datamodule=ClipData(), verbose=False)[0]
    names = {"test/psnr", "test/psnr_repeat", "test/psnr_warp", "test/psnr_reconstructed"}
    assert names <= set(found)
    assert all(torch.isfinite(torch.tensor(found[name])) for name in names)


@torch.no_grad()
def test_warping_is_measured_through_the_same_autoencoder(monkeypatch):
    stage, seen = LatentVideoDiffusion(**video_parts()).eval(), {}
    monkeypatch.setattr(stage.metrics, "update", seen.update)
    clip = batch(1)
    stage.test_step(clip, 0)
    key = clip["video"][:, clip["key_index"][0]][:, None]
    warped = stage.autoencoder.decode(stage.autoencoder.encode(warp(key, clip["flow_i2v"])))
    found = seen["warp_reconstructed"].video
    # Both were rounded to bytes on the way, which an untrained autoencoder hardly enlarges.
    assert (found - warped.clamp(-1, 1)).abs().mean() < 0.01
    assert (found - seen["warp"].video).abs().mean() > 0.1


def test_a_network_for_other_channels_is_refused_in_one_line(tmp_path):
    stage = DepthFlowDiffusion(**{**motion_parts(), "key_frame": KeyFrameOnGrid()})
    with pytest.raises(UserError, match=r"in_channels: 5, .* 5 channels .* and 3 of"):
        trainer(tmp_path, 1).fit(stage, ClipData())


@torch.no_grad()
def test_the_key_frame_is_shown_beside_the_motion_of_every_frame():
    shown = []

    def network(noisy, timesteps, tokens, fps, key_index, drop_tokens=None):
        shown.append(noisy[:, :, 5:])
        return noisy[:, :, :5]

    stage = DepthFlowDiffusion(**{**motion_parts(), "key_frame": KeyFrameOnGrid()})
    clips = batch(2)
    stage.unet = Recorded(network)
    stage.generate(clips)
    image = clips["video"][torch.arange(2), clips["key_index"]]
    expected = KeyFrameOnGrid()(image, torch.empty(0), clips["key_index"], FRAMES, GRID)
    assert torch.equal(shown[0], expected)


class Recorded(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *args, **kwargs):
        return self.network(*args, **kwargs)


@pytest.fixture
def velocity_model(tmp_path):
    """A folder laid out as Stable Diffusion 2.1's at 768: its network predicts velocity."""
    unet(4).spatial.save_pretrained(tmp_path / "sd" / "unet")
    DDIMScheduler(
        prediction_type="v_prediction", beta_schedule="scaled_linear", clip_sample=False
    ).save_pretrained(tmp_path / "sd" / "scheduler")
    return tmp_path / "sd"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction_type": "epsilon"}, "prediction_type: epsilon, .* with v_prediction"),
        ({"beta_end": 0.012}, "beta_end: 0.012, .* with 0.02"),
        ({}, None),
        ({"rescale_betas_zero_snr": True}, None),
    ],
)
@pytest.mark.parametrize("adapts", [False, True])
def test_pretrained_weights_say_what_noise_they_know(
    tmp_path, velocity_model, changes, message, adapts
):
    learnt = {
        "prediction_type": "v_prediction",
        "beta_schedule": "scaled_linear",
        "timestep_spacing": "trailing",
        "clip_sample": False,
    }
    network = SpatioTemporalUNet(
        UNET | {"in_channels": 4, "out_channels": 4}, 10, 4, IMAGE_ENCODER["width"],
        pretrained=str(velocity_model), subfolder="unet",
    )  # fmt: skip
    noise_scheduler = DDIMScheduler(**learnt | changes)
    parts = video_parts(unet=network, noise_scheduler=noise_scheduler, allow_other_parts=adapts)
    runner, stage = trainer(tmp_path, 1), LatentVideoDiffusion(**parts)
    if message is None or adapts:
        runner.fit(stage, ClipData())
        return
    with pytest.raises(UserError, match=rf"model\.noise_scheduler\.{message}, says its scheduler/"):
        runner.fit(stage, ClipData())


def test_a_network_alone_says_nothing_of_noise(tmp_path):
    unet(4).spatial.save_pretrained(tmp_path / "unet")
    assert published_noise(str(tmp_path)) == {}
    assert published_noise("nobody/nothing") == {}
