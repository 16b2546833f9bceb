"""Figures against PSNRs worked out by hand."""

import math

import pytest
import torch

from movideo.metrics.psnr import MAX_PSNR
from movideo.motion.space import Motion
from stages.generation_metrics import GenerationMetrics

KEY, FRAMES = 1, 3
PER_STEP = [-0.5, 0.0, 0.25]  # grey of each frame; the key frame is 0


def clips():
    video = torch.tensor(PER_STEP).view(1, FRAMES, 1, 1, 1).expand(2, -1, 3, 8, 8).clone()
    return {"video": video, "key_index": torch.full((2,), KEY)}


def still():
    return Motion(
        torch.zeros(2, FRAMES, 1, 8, 8),
        torch.zeros(2, FRAMES, 2, 8, 8),
        torch.zeros(2, FRAMES, 2, 8, 8),
    )


def figures(generated, motion):
    metrics = GenerationMetrics()
    metrics.update(clips(), generated, motion)
    return {name: value.item() for name, value in metrics.compute().items()}


def psnr(*errors):
    return 10 * math.log10(4 / (sum(e * e for e in errors) / len(errors)))


def test_perfect_video_reaches_the_ceiling():
    found = figures(clips()["video"], still())
    assert found["psnr"] == MAX_PSNR
    # no motion: the warped key frame is the repeated one, off by 0.5 and 0.25
    assert found["psnr_repeat"] == pytest.approx(psnr(0.5, 0.25), rel=1e-5)
    assert found["psnr_warp"] == pytest.approx(psnr(0.5, 0.25), rel=1e-5)
    assert found["occluded"] == 0
    assert math.isnan(found["psnr_occluded"])
    # colours in [0, 1] halve the difference
    assert found["warp_error"] == pytest.approx((0.25**2 + 0.125**2) / 2, rel=1e-5)
    assert found["warp_error_truth"] == pytest.approx(found["warp_error"])


def test_perceptual_distance_stands_beside_its_rivals():
    metrics, video = GenerationMetrics(), clips()["video"]
    generated = video * 0.5
    metrics.update(clips(), generated, still())
    found = {name: value.item() for name, value in metrics.compute().items()}
    still_video = video[:, KEY : KEY + 1].expand_as(video)
    name = "perceptual_2d_random-features"
    for suffix, rival in (("", generated), ("_repeat", still_video), ("_warp", still_video)):
        expected = metrics.score(rival, video).item()
        assert found[f"{name}{suffix}"] == pytest.approx(expected, rel=1e-5)
    assert 0 < found[name] < found[f"{name}_repeat"]


def test_key_frame_does_not_count():
    generated = clips()["video"]
    generated[:, KEY] = 1.0
    assert figures(generated, still())["psnr"] == MAX_PSNR


def test_occluded_region_is_measured_alone():
    motion = still()
    # In the left half of frame 0 one flow leads two pixels right and nothing leads back.
    motion.flow_i2v[:, 0, 0, :, :4] = 2.0
    generated = clips()["video"]
    generated[:, 0, :, :, :4] += 0.1
    found = figures(generated, motion)
    assert found["occluded"] == pytest.approx(0.25)  # half of one of two frames
    assert found["psnr_occluded"] == pytest.approx(psnr(0.1), rel=1e-4)
    assert found["psnr_occluded_warp"] == pytest.approx(psnr(0.5), rel=1e-4)
    assert found["psnr"] == pytest.approx(psnr(0.1, 0, 0, 0), rel=1e-4)


def test_reset_forgets():
    metrics = GenerationMetrics()
    metrics.update(clips(), torch.zeros_like(clips()["video"]), still())
    metrics.reset()
    metrics.update(clips(), clips()["video"], still())
    assert metrics.compute()["psnr"] == MAX_PSNR
