"""Stage 1 with a predicted scale, and stages 2 and 3 with errors of motion: trained and resumed."""

import pytest
import torch

from movideo.diffusion import SampleRandomness
from movideo.errors import UserError
from movideo.hub.model_folder import starting_point
from movideo.motion.key_frame import KeyFrameOnGrid
from movideo.motion.noise import DrawnMotionNoise
from movideo.motion.scale import PredictedFlowScale
from stages import DepthFlowDiffusion, FlowDecoderGAN, LatentVideoDiffusion
from tests.stages.parts import (
    IMAGE_ENCODER,
    STATISTICS,
    ClipData,
    batch,
    decoder_parts,
    motion_parts,
    trainer,
    unet,
    video_parts,
)


def motion_stage(**changes):
    torch.manual_seed(0)
    parts = {
        "unet": unet(5, takes_scale=True),
        "flow_scale": PredictedFlowScale(IMAGE_ENCODER["width"], width=8),
    }
    return DepthFlowDiffusion(**motion_parts(**parts) | changes)


def fitted(stage, folder, steps, data=None, **options):
    runner = trainer(folder, steps)
    runner.fit(stage, datamodule=data or ClipData(), **options)
    return runner


def test_the_law_and_what_is_learnt_go_into_the_checkpoint_and_on(tmp_path):
    stage = motion_stage()
    before = stage.flow_scale.of_token[0].weight.clone()
    head = stage.flow_scale.head[-1].weight
    runner = fitted(stage, tmp_path, 2)
    law = STATISTICS.scale_law
    assert stage.flow_scale.law.tolist() == [law.intercept, law.slope, law.spread]
    assert head.abs().max() > 0  # from its own likelihood: no other loss reaches it
    assert not torch.equal(stage.flow_scale.of_token[0].weight, before)
    assert runner.callback_metrics["train/scale_nll"].isfinite()
    runner.save_checkpoint(tmp_path / "a.ckpt")
    fitted(stage, tmp_path / "one", 4, ckpt_path=tmp_path / "a.ckpt")
    again = motion_stage()
    fitted(again, tmp_path / "two", 4, ckpt_path=tmp_path / "a.ckpt")
    for one, other in zip(stage.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    saved = starting_point(tmp_path / "a.ckpt", "motion").component("flow_scale")
    assert saved.law.tolist() == stage.flow_scale.law.tolist()


def test_training_tells_the_true_scale_and_leaves_it_out_at_times():
    clips = motion_stage().encoded(batch(2))
    for probability, unknown in ((0.0, 0), (1.0, 2)):
        stage = motion_stage(scale_drop=probability)
        told = stage.denoiser(clips, None, SampleRandomness.of_training(0, 0, range(2))).log_scale
        assert int(told.isnan().sum()) == unknown
        # Validation leaves nothing out.
        assert torch.equal(stage.denoiser(clips, None).log_scale, clips["log_scale"])
    true = stage.motion_space.log_scale(clips["flow_i2v"], clips["flow_v2i"])
    assert torch.equal(clips["log_scale"], true)


@torch.no_grad()
def test_an_unknown_scale_leaves_the_network_as_it_was():
    told = unet(5, takes_scale=True).eval()
    sample, tokens = torch.randn(2, 3, 5, 8, 8), torch.randn(2, 5, IMAGE_ENCODER["width"])
    fixed = sample, torch.tensor(3), tokens, torch.tensor([5.0, 5.0])
    plain = told(*fixed)
    some = told(*fixed, log_scale=torch.tensor([torch.nan, -2.0]))
    torch.testing.assert_close(some[0], plain[0], atol=1e-5, rtol=0)
    assert (some[1] - plain[1]).abs().max() > 1e-3


def test_what_does_not_go_together_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"takes none: set model.unet.takes_scale true"):
        fitted(motion_stage(unet=unet(5)), tmp_path, 1)
    stage = LatentVideoDiffusion(**video_parts(motion_noise=DrawnMotionNoise()))
    with pytest.raises(UserError, match=r"in_channels: 10, but .* give 11, or another"):
        fitted(stage, tmp_path, 1)


def test_a_checkpoint_of_the_other_kind_is_refused(tmp_path):
    fitted(DepthFlowDiffusion(**motion_parts()), tmp_path, 1).save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"model.flow_scale: .*PredictedFlowScale, but the weights"):
        fitted(motion_stage(init_from=str(tmp_path / "a.ckpt")), tmp_path, 1)


@pytest.mark.parametrize("anywhere", [False, True])
def test_the_model_knows_where_key_frames_stood(tmp_path, anywhere):
    data = ClipData()
    data.has_key_frames_anywhere = anywhere
    stage = DepthFlowDiffusion(**motion_parts(unet=unet(5, extra=3), key_frame=KeyFrameOnGrid()))
    fitted(stage, tmp_path, 1, data).save_checkpoint(tmp_path / "a.ckpt")
    assert starting_point(tmp_path / "a.ckpt", "motion").component("key_frame").anywhere is anywhere


def test_stage_2_trains_on_wrong_motion_and_is_measured_on_exact(tmp_path):
    stage = LatentVideoDiffusion(
        **video_parts(unet=unet(4, extra=7), motion_noise=DrawnMotionNoise(), coarse_motion=1.0)
    )
    clips = stage.encoded(batch(2))
    randomness = SampleRandomness.of_training(0, 0, range(2))
    wrong, exact = stage.condition(clips, randomness), stage.condition(clips, None)
    assert wrong.shape == exact.shape == (2, 3, 4 + 3, *clips["latents"].shape[-2:])
    assert (wrong[:, :, -1] > 0).all()
    assert not exact[:, :, -1].any()
    weaker = stage.weaker(exact)
    assert not weaker[:, :, 1:5].any()
    assert torch.equal(weaker[:, :, 5:], exact[:, :, 5:])
    fitted(stage, tmp_path, 1)


def test_stage_3_decodes_along_wrong_motion(tmp_path):
    flows = []
    for noise in (None, DrawnMotionNoise()):
        stage = FlowDecoderGAN(**decoder_parts(coarse_motion=1.0, motion_noise=noise))
        forward = stage.decoder.forward

        def listening(z, flow, key, forward=forward):
            flows.append(flow.clone())
            return forward(z, flow, key)

        stage.decoder.forward = listening
        runner = trainer(tmp_path, 1, limit_train_batches=1)
        runner.fit(stage, datamodule=ClipData())
    assert not torch.equal(flows[0], flows[-1])
