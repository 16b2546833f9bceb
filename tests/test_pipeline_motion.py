"""Motion in the chain: its scale predicted and asked for, its level told, its windows joined."""

import logging

import pytest
import torch

from movideo.errors import UserError
from movideo.motion.key_frame import KeyFrameCondition
from movideo.motion.noise import DrawnMotionNoise
from movideo.motion.scale import PredictedFlowScale
from movideo.motion.windows import go_on_from
from movideo.ops import warp
from movideo.pipeline import MoVideoPipeline
from movideo.shards.labels import ScaleLaw
from tests.stages.parts import FRAMES, tiny_pipeline, unet

IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1
TOLD = "log_scale"


@pytest.fixture(scope="module")
def predicting():
    """The tiny chain with a scale that is predicted: two seconds move a quarter of the side."""
    tiny = tiny_pipeline()
    scale = PredictedFlowScale(tiny.image_encoder.token_dim, width=8)
    scale.fit_law(ScaleLaw(-2.0, 1.0, 0.05))
    return MoVideoPipeline.from_pipe(
        tiny,
        motion_unet=unet(5, takes_scale=True),
        flow_scale=scale,
        key_frame=KeyFrameCondition(anywhere=True),
    )


def run(pipeline, **options):
    options = {"num_frames": FRAMES, "num_inference_steps": 1, "fps": 1.0} | options
    return pipeline.generate(IMAGE, generator=torch.Generator().manual_seed(0), **options)


def told_scales(pipeline, monkeypatch):
    scales = []
    forward = pipeline.motion_unet.forward

    def listening(*arguments, **options):
        scales.append(options[TOLD].clone())
        return forward(*arguments, **options)

    monkeypatch.setattr(pipeline.motion_unet, "forward", listening)
    return scales


def longest(motion):
    return float(torch.stack([motion.flow_i2v, motion.flow_v2i]).norm(dim=3).max()) / 16


def test_stage_1_is_told_a_draw_and_eq_10_stays_near_it(predicting, monkeypatch):
    scales = told_scales(predicting, monkeypatch)
    motion = run(predicting).motion
    # One second to the farthest of three frames: the law says exp(-2) of the side, give or take
    # two deviations of 0.05 about a component that lies within one.
    assert float(scales[0]) == pytest.approx(-2, abs=0.25)
    largest = float((torch.stack([motion.flow_i2v, motion.flow_v2i]).norm(dim=3) / 16).max().log())
    # What stage 1 makes of noise is no flow of length 1: it is known up to the scale alone.
    alone = predicting.motion_space.decode
    kept = []
    monkeypatch.setattr(predicting.motion_space, "decode", lambda *a: kept.append(a) or alone(*a))
    run(predicting)
    normalised = predicting.motion_space.split(kept[0][0], torch.tensor([FRAMES // 2]))
    unit = torch.stack([normalised.flow_i2v, normalised.flow_v2i]).norm(dim=3).max().log()
    assert -2.25 <= largest - float(unit) <= -1.75


def test_strength_is_asked_of_stage_1(predicting, monkeypatch):
    scales = told_scales(predicting, monkeypatch)
    plain, strong = run(predicting).motion, run(predicting, motion_strength=2.0).motion
    assert float((scales[1] - scales[0]).exp()) == pytest.approx(2, abs=1e-4)
    # Not the same motion twice as long: depth could have changed with it.
    assert not torch.equal(strong.depth, plain.depth)
    assert strong.visibility is predicting.visibility
    still = run(predicting, motion_strength=0.0).motion
    assert not still.flow_v2i.any()


def test_longer_clips_move_farther_and_higher_rates_less(predicting, monkeypatch):
    scales = told_scales(predicting, monkeypatch)
    for options in ({"fps": 1.0}, {"fps": 4.0}, {"key_index": 0}):
        run(predicting, **options)
    slow, fast, first = (float(scale) for scale in scales)
    assert slow - fast == pytest.approx(torch.tensor(4.0).log().item(), abs=1e-4)
    assert first - slow == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-4)


def test_what_predicts_is_saved_and_stays_exact_in_half_precision(predicting, tmp_path):
    predicting.save_pretrained(tmp_path)
    loaded = MoVideoPipeline.from_pretrained(tmp_path)
    assert torch.equal(run(loaded).flow_i2v, run(predicting).flow_i2v)
    assert loaded.to(dtype=torch.bfloat16).flow_scale.law.dtype == torch.float32


def test_stage_2_is_told_how_far_generated_motion_is_off(monkeypatch):
    tiny = tiny_pipeline()
    noisy = MoVideoPipeline.from_pipe(
        tiny, video_unet=unet(4, extra=7), motion_noise=DrawnMotionNoise(generated=0.25)
    )
    heard = []
    forward = noisy.video_unet.forward
    monkeypatch.setattr(
        noisy.video_unet,
        "forward",
        lambda x, *a, **o: heard.append(x[:, :, -1]) or forward(x, *a, **o),
    )
    generated = run(noisy)
    assert (heard[0] == 0.25).all()
    run(noisy, motion=generated.motion)  # as it was, also where it is handed in again
    assert (heard[1] == 0.25).all()
    exact = generated.motion.map(lambda field: field)
    run(noisy, motion=type(exact)(**exact.fields()))
    assert not heard[2].any()


def test_windows_are_chains_of_videos(predicting):
    generator = torch.Generator().manual_seed(0)
    options = {"num_inference_steps": 1, "fps": 1.0, "generator": generator}
    first = predicting.generate(IMAGE, num_frames=3, key_index=0, **options)
    second = predicting.generate(first.video[:, 2], num_frames=3, key_index=0, **options)
    whole = run(predicting, num_frames=4, key_index=0, window=3)
    assert torch.equal(whole.video[:, :3], first.video)
    carried = go_on_from(second.video, first.video[:, 2], 0, second.flow_i2v, second.visible)
    assert torch.equal(whole.video[:, 3], carried[:, 1])
    assert torch.equal(whole.flow_v2i[:, :3], first.flow_v2i)
    there = first.flow_v2i[:, 2:3]
    onward = there + warp(second.flow_v2i[:, 1:2], there)
    assert torch.allclose(whole.flow_v2i[:, 3:], onward, atol=1e-5)
    assert whole.visible.shape == (1, 4, 1, 16, 16)


def test_windows_as_long_as_the_video_change_nothing(predicting):
    assert torch.equal(run(predicting).video, run(predicting, window=FRAMES).video)


@pytest.mark.parametrize(
    "options",
    [
        {"window": 1},
        {"window": 2, "decode": False},
        {"window": 2, "latents": torch.zeros(1, 3, 4, 4, 4)},
    ],
)
def test_what_windows_cannot_do(predicting, options):
    with pytest.raises(UserError, match=r"window .: 3 frames are made in windows of 2 or more"):
        run(predicting, **options)


def test_a_model_of_centres_says_so(predicting, caplog):
    with caplog.at_level(logging.WARNING):
        run(predicting, key_index=0)
        run(tiny_pipeline(), key_index=FRAMES // 2)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        run(tiny_pipeline(), key_index=0)
    assert (
        "key_index [0]: this model was trained with key frames in the centre alone" in caplog.text
    )
