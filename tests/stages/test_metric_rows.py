"""What tests log, against PSNRs worked out by hand."""

import math

import pytest
import torch

from movideo.cli.stage_report import stage_report
from movideo.evaluation.provenance import Run
from movideo.metrics import PSNR, RandomFeatureDistance, VideoMetric
from movideo.metrics.psnr import MAX_PSNR
from movideo.motion.space import Motion
from stages.metric_rows import MetricRows, generation_metrics, generation_rows

KEY, FRAMES = 1, 3
PER_STEP = [-0.5, 0.0, 0.25]  # grey of each frame; the key frame is 0


def clips():
    video = torch.tensor(PER_STEP).view(1, FRAMES, 1, 1, 1).expand(2, -1, 3, 8, 8).clone()
    key_index = torch.full((2,), KEY)
    return {"video": video, "key_index": key_index, "name": ["a", "b"], "fps": torch.ones(2)}


def still():
    return Motion(
        torch.zeros(2, FRAMES, 1, 8, 8),
        torch.zeros(2, FRAMES, 2, 8, 8),
        torch.zeros(2, FRAMES, 2, 8, 8),
    )


def metrics(generated, motion):
    metrics = MetricRows(generation_metrics())
    metrics.update(generation_rows(clips(), generated, motion))
    return {name.removeprefix("test/"): v.item() for name, v in metrics.logged().items()}


def psnr(*errors):
    return 10 * math.log10(4 / (sum(e * e for e in errors) / len(errors)))


def test_perfect_video_reaches_the_ceiling():
    found = metrics(clips()["video"], still())
    assert found["psnr"] == MAX_PSNR
    # no motion: the warped key frame is the repeated one, off by 0.5 and 0.25
    assert found["psnr_repeat"] == pytest.approx(psnr(0.5, 0.25), rel=1e-5)
    assert found["psnr_warp"] == pytest.approx(psnr(0.5, 0.25), rel=1e-5)
    assert found["occluded"] == 0
    assert math.isnan(found["psnr_occluded"])
    # colours in [0, 1] halve the difference
    assert found["key-frame_warp_error"] == pytest.approx((0.25**2 + 0.125**2) / 2, rel=1e-5)
    assert found["key-frame_warp_error_truth"] == pytest.approx(found["key-frame_warp_error"])


def test_perceptual_distance_stands_beside_its_rivals():
    video = clips()["video"]
    generated = video * 0.5
    found = metrics(generated, still())
    still_video = video[:, KEY : KEY + 1].expand_as(video)
    name, distance = "random-feature_distance", RandomFeatureDistance().distance
    for suffix, baseline in (("", generated), ("_repeat", still_video), ("_warp", still_video)):
        expected = distance(baseline, video).item()
        assert found[f"{name}{suffix}"] == pytest.approx(expected, rel=1e-5)
    assert 0 < found[name] < found[f"{name}_repeat"]


def test_key_frame_does_not_count():
    generated = clips()["video"]
    generated[:, KEY] = 1.0
    assert metrics(generated, still())["psnr"] == MAX_PSNR


def test_occluded_region_is_measured_alone():
    motion = still()
    # In the left half of frame 0 one flow leads two pixels right and nothing leads back.
    motion.flow_i2v[:, 0, 0, :, :4] = 2.0
    generated = clips()["video"]
    generated[:, 0, :, :, :4] += 0.1
    found = metrics(generated, motion)
    assert found["occluded"] == pytest.approx(0.25)  # half of one of two frames
    assert found["psnr_occluded"] == pytest.approx(psnr(0.1), rel=1e-4)
    assert found["psnr_occluded_warp"] == pytest.approx(psnr(0.5), rel=1e-4)
    assert found["psnr"] == pytest.approx(psnr(0.1, 0, 0, 0), rel=1e-4)


def test_reset_forgets():
    metrics = MetricRows([PSNR("others")])
    metrics.update(generation_rows(clips(), torch.zeros_like(clips()["video"]), still()))
    metrics.reset()
    metrics.update(generation_rows(clips(), clips()["video"], still()))
    assert metrics.logged()["test/psnr"] == MAX_PSNR


class Brightness(VideoMetric):
    """Somebody's own: the mean grey of a video."""

    name = "mean grey"
    higher_is_better = True

    def measure(self, clips):
        return clips.video.flatten(1).mean(dim=1)


def test_a_metric_of_ones_own_is_measured_on_every_row():
    metrics = MetricRows([Brightness()])
    metrics.update(generation_rows(clips(), torch.ones(2, FRAMES, 3, 8, 8), still()))
    found = {name: value.item() for name, value in metrics.logged().items()}
    truth = sum(PER_STEP) / FRAMES
    assert found == pytest.approx(
        {
            "test/mean_grey": 1,
            "test/mean_grey_repeat": PER_STEP[KEY],
            "test/mean_grey_warp": PER_STEP[KEY],
            "test/mean_grey_truth": truth,
        }
    )


def test_the_report_of_a_test_says_what_its_metrics_say():
    logged = {"test/psnr_repeat": 1.0, "test/psnr_occluded_repeat": 2.0, "test/scale_error": 3.0}
    data, run = {"samples": 2}, Run("host", "cpu", 1, "2026", 1.0)
    report = stage_report("Stage", None, data, logged, generation_metrics(), 0, run)
    infos = {name: (info.unit, info.better) for name, info in report.metrics.items()}
    assert infos == {
        "psnr_repeat": ("dB", "higher"),
        "psnr_occluded_repeat": ("dB", "higher"),
        "scale_error": ("", None),
    }
    frames = [report.metrics[name].protocol.get("frames") for name in infos]
    assert frames == [
        "all but the key frame",
        "where the key frame does not show what is there",
        None,
    ]
