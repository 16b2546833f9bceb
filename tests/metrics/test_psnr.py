import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from movideo.metrics import PSNR, ResamplingPSNR, masked_psnr, resampling_psnr
from tests.metrics.parts import judged


def clips(batch: int = 2) -> torch.Tensor:
    return 2 * torch.rand(batch, 3, 3, 16, 16) - 1


def test_is_that_of_torchmetrics_over_each_whole_clip() -> None:
    pred, target = clips(), clips()
    found = masked_psnr(pred, target)
    for index in range(2):
        expected = peak_signal_noise_ratio(pred[index], target[index], data_range=2.0)
        # the same sum in another order, float32
        assert found[index].item() == pytest.approx(expected.item(), abs=1e-4)


def test_only_pixels_in_the_mask_count() -> None:
    target = torch.zeros(1, 2, 3, 4, 4)
    pred, mask = target.clone(), torch.zeros(1, 2, 1, 4, 4)
    mask[:, 1, :, :2] = 1
    pred[:, 1, :, :2] = 0.2  # inside: squared error 0.04 in a range of 2: 10 log10(4 / 0.04) = 20
    pred[:, 0] = 1.0  # outside
    assert masked_psnr(pred, target, mask).item() == pytest.approx(20.0, abs=1e-5)


def test_equal_clips_and_an_empty_mask() -> None:
    video = clips(1)
    assert masked_psnr(video, video).item() == 100.0
    assert masked_psnr(video, video, torch.zeros(1, 3, 1, 16, 16)).isnan().all()


def test_mean_over_clips_is_of_decibels() -> None:
    metric, zero = PSNR(), torch.zeros(1, 1, 3, 2, 2)
    metric.update(judged(zero + 0.2, truth=zero, names=["a"]))  # 20 dB
    metric.update(judged(zero + 0.02, truth=zero, names=["b"]))  # 40 dB
    assert metric.compute().item() == pytest.approx(30.0, abs=1e-4)


def test_resampling_keeps_what_is_smooth_and_loses_what_is_fine() -> None:
    flat = torch.full((1, 2, 3, 32, 32), 0.3)
    assert resampling_psnr(flat).item() > 90  # bicubic weights add up to 1, within float32
    checkers = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    # a checkerboard of -1 and 1 shrinks to (nearly) 0: error 1 of a range of 2, 10 log10(4) = 6 dB
    found = resampling_psnr(checkers.expand(1, 2, 3, 32, 32))
    assert found.item() == pytest.approx(10 * math.log10(4), abs=0.1)


def test_resampling_averages_over_clips() -> None:
    video, metric = clips(), ResamplingPSNR(factor=2)
    metric.update(judged(video, truth=video))
    assert metric.compute().item() == pytest.approx(
        resampling_psnr(video, 2).mean().item(), abs=1e-5
    )
    # less is lost at a factor of 2 than of 4
    assert (resampling_psnr(video, 2) > resampling_psnr(video, 4)).all()


def test_sides_need_not_divide() -> None:
    assert resampling_psnr(torch.rand(1, 2, 3, 17, 3)).isfinite().all()
