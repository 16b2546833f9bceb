"""Errors of a drawn level: how large they are, where there are none, and what the network hears."""

import pytest
import torch

from movideo.diffusion import SampleRandomness
from movideo.motion.condition import motion_condition
from movideo.motion.files import load_motion, save_motion
from movideo.motion.noise import DrawnMotionNoise, MotionNoise
from movideo.motion.space import Motion, MotionSpace
from movideo.motion.visibility import TolerantConsistency

FRAMES, SIDE, KEY = 5, 32, 2


def shifts(clips):
    """Everything moves right by 3 pixels a frame."""
    flow = torch.zeros(clips, FRAMES, 2, SIDE, SIDE)
    flow[:, :, 0] = 3 * (torch.arange(FRAMES) - KEY).view(1, FRAMES, 1, 1)
    depth = torch.rand(clips, FRAMES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return Motion(depth, -flow, flow)


def noised(noise, clips, chosen):
    randomness = SampleRandomness.of_training(0, 0, range(clips))
    return noise(shifts(clips), torch.full((clips,), KEY), chosen, randomness)


def test_the_paper_has_none():
    motion = shifts(2)
    assert MotionNoise()(motion, torch.tensor([2, 2]), torch.ones(2).bool(), None) is motion
    assert MotionNoise().channels == 0


def test_clips_that_are_not_chosen_and_the_key_frame_stay_exact():
    motion = noised(DrawnMotionNoise(), 2, torch.tensor([True, False]))
    true = shifts(2)
    for name, field in motion.fields().items():
        assert torch.equal(field[1], true.fields()[name][1])
        assert not torch.equal(field[0], true.fields()[name][0])
    assert motion.level[1] == 0 < motion.level[0]
    assert not motion.flow_i2v[:, KEY].any()
    assert not motion.flow_v2i[:, KEY].any()


def test_errors_are_as_large_as_their_level_says():
    clips = 400
    motion = noised(DrawnMotionNoise(largest=0.4), clips, torch.ones(clips).bool())
    true = shifts(clips)
    assert float(motion.level.mean()) == pytest.approx(0.2, abs=0.02)
    assert float(motion.level.max()) <= 0.4
    # Root mean square of 6, 3, 0, 3, 6 pixels.
    mean_motion = (90 / 5) ** 0.5
    # Across the motion there is no error of scale: what is there is the smooth error alone. The
    # four weights of bicubic interpolation have a mean sum of squares of 0.857 along an axis, 0.734
    # along two; a little more at the border, where places repeat.
    across = motion.flow_v2i[:, 0, 1] / (motion.level * mean_motion * 2)[:, None, None]
    assert float(across.square().mean()) == pytest.approx(0.75, abs=0.04)
    half = motion.flow_v2i[:, 1, 1] / (motion.level * mean_motion)[:, None, None]
    assert torch.allclose(half, across, atol=1e-5)  # half as far from the key frame
    # The two flows err independently.
    along = [motion.flow_i2v[:, 0, 1].flatten(), motion.flow_v2i[:, 0, 1].flatten()]
    assert abs(float(torch.corrcoef(torch.stack(along))[0, 1])) < 0.05
    # One factor of the whole clip, log-normal, beside it.
    factor = motion.flow_v2i[:, 0, 0].mean(dim=(1, 2)) / true.flow_v2i[:, 0, 0].mean(dim=(1, 2))
    drift = motion.flow_v2i[:, 0, 1].mean(dim=(1, 2)) / true.flow_v2i[:, 0, 0].mean(dim=(1, 2))
    variance = (factor.clamp(min=0.1).log() / motion.level).var() - (drift / motion.level).var()
    assert 0.7 < float(variance) < 1.4


def test_the_network_hears_the_level_and_sees_the_mask_of_wrong_motion():
    latent, space = torch.randn(2, 3, 8, 8), MotionSpace((16, 16))
    chosen = torch.tensor([True, False])
    motion = noised(DrawnMotionNoise(largest=1.0), 2, chosen)

    def condition(motion, **options):
        size = (SIDE, SIDE)
        return motion_condition(
            motion, latent, size, space, chosen, TolerantConsistency(0, 0.5, 0), **options
        )

    told = condition(motion, with_level=True)
    assert told.channels().shape == (2, FRAMES, 1 + 3 + 1 + 1, 8, 8)
    for level, channel in zip(motion.level, told.channels()[:, :, -1], strict=True):
        assert torch.equal(channel, level.expand_as(channel))
    assert condition(motion).channels().shape == (2, FRAMES, 1 + 3 + 1, 8, 8)
    true = condition(shifts(2))
    assert told.visible[0].mean() < true.visible[0].mean() - 0.1
    assert torch.equal(told.visible[1], true.visible[1])


def test_motion_of_no_level_is_told_as_exact():
    told = motion_condition(
        shifts(1), torch.randn(1, 3, 8, 8), (SIDE, SIDE), MotionSpace((16, 16)), with_level=True
    )
    assert not told.level.any()


def test_files_keep_it(tmp_path):
    motion = noised(DrawnMotionNoise(), 1, torch.ones(1).bool())
    save_motion(tmp_path / "motion.safetensors", motion)
    loaded = load_motion(tmp_path / "motion.safetensors", FRAMES, (SIDE, SIDE))
    assert torch.equal(loaded.level, motion.level)
    save_motion(tmp_path / "exact.safetensors", shifts(1))
    assert load_motion(tmp_path / "exact.safetensors", FRAMES, (SIDE, SIDE)).level is None
