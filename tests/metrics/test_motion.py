"""How videos move: shifts of known length, and ways to cheat on scenes with exact flow."""

import pytest
import torch
from torch import Tensor

from movideo.estimators import DepthEstimator, FlowEstimator
from movideo.metrics import DepthError, FlowError, MotionFidelity, WarpError
from movideo.motion.space import Motion
from tests.metrics.parts import judged, made_of, moving_scenes, random_clips


class Constant(FlowEstimator):
    """Three pixels to the right, whatever it sees; counts the pairs."""

    pairs = 0

    def init_args(self):
        return {}

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        self.pairs += len(source)
        flow = torch.zeros(len(source), 2, *source.shape[-2:])
        flow[:, 0] = 3
        return flow


class Brightness(DepthEstimator):
    def init_args(self):
        return {}

    def forward(self, video: Tensor) -> Tensor:
        return video.mean(dim=1, keepdim=True)


def still(count: int = 1, frames: int = 4, side: int = 32) -> Motion:
    return Motion(*(torch.zeros(count, frames, c, side, side) for c in (1, 2, 2)))


def test_motion_fidelity_of_a_known_difference():
    """Found 3 to the right where 3 right and 4 down was asked for: 4, the key frame apart."""
    motion = still()
    motion.flow_i2v[:, :, 0], motion.flow_i2v[:, :, 1] = 3, 4
    motion.flow_v2i[:] = -motion.flow_i2v
    motion.flow_i2v[:, 2] = motion.flow_v2i[:, 2] = 0  # the key frame's, where 3 would be missing
    metric = MotionFidelity(Constant())
    metric.update(judged(random_clips(1), motion=motion))
    assert metric.compute().item() == pytest.approx(4)


def test_motion_fidelity_counts_what_is_visible():
    """Flows that do not lead back hide the left half."""
    motion = still()
    motion.flow_i2v[..., :16] = 9
    metric = MotionFidelity(Constant())
    metric.update(judged(random_clips(1), motion=motion))
    assert metric.compute().item() == pytest.approx(3)
    motion.flow_i2v[:] = 99  # nothing is left
    hidden = MotionFidelity(Constant())
    hidden.update(judged(random_clips(1), motion=motion))
    assert hidden.compute().isnan()


def test_moving_scenes_are_told_from_cheats():
    """With DIS: pure warping moves as asked; grey, frozen and noise clips do not."""
    scenes = moving_scenes(4)
    found = {}
    for name, video in (made_of(**scenes) | {"true": scenes["truth"]}).items():
        metric = MotionFidelity()
        metric.update(judged(video, motion=scenes["motion"], key_index=torch.full((4,), 4)))
        found[name] = metric.compute().item()
    assert found["true"] < 0.5, found  # what DIS itself is wrong by
    assert found["warped"] < 1, found
    assert min(found["frozen"], found["grey"], found["noise"]) > 2 * found["warped"], found


def test_flow_error_of_a_known_shift_estimated_once():
    """Asked to stand still where the truth moves by 3, both ways, key frame and all."""
    estimator = Constant()
    metric = FlowError(estimator)
    copy = metric.clone()
    clips = judged(random_clips(1), truth=random_clips(1, seed=1), motion=still())
    metric.update(clips)
    copy.update(clips)
    assert metric.compute().item() == copy.compute().item() == pytest.approx(3)
    assert estimator.pairs == 2 * 4  # both directions of 4 frames, for both methods


def test_depth_error_ignores_scale_and_shift():
    truth = random_clips(2)
    depth = Brightness()
    asked = torch.stack([depth(clip) for clip in truth]) * 5 + 7
    motion = Motion(asked, *(torch.zeros(2, 4, 2, 32, 32) for _ in range(2)))
    metric = DepthError(depth)
    metric.update(judged(truth, truth=truth, motion=motion))
    # 5 d + 7 in float32
    assert metric.compute().item() == pytest.approx(0, abs=1e-5)
    worse = DepthError(depth)
    flat = Motion(torch.ones_like(asked), motion.flow_i2v, motion.flow_v2i)
    worse.update(judged(truth, truth=truth, motion=flat))
    assert worse.compute().item() == pytest.approx(1)


class Shift(FlowEstimator):
    """One pixel to the left from a later frame to an earlier one, and back, however bright."""

    def init_args(self):
        return {}

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        left = (source[..., 1:] - target[..., :-1]).std(dim=(1, 2, 3)) < 1e-6
        flow = torch.zeros(len(source), 2, *source.shape[-2:])
        flow[:, 0] = torch.where(left, -1.0, 1.0)[:, None, None]
        return flow


def test_warp_error_by_hand():
    """A texture that moves by a pixel a frame, and one frame of which is brighter by 0.4 of 2."""
    texture = random_clips(1, frames=1, side=40)[0, 0] / 2
    video = torch.stack([texture[:, 4:36, 4 - f : 36 - f] for f in range(3)])[None]
    metric = WarpError(Shift())
    metric.update(judged(video))
    assert metric.compute().item() == pytest.approx(0, abs=1e-12)
    video[:, 2] += 0.4
    brighter = WarpError(Shift())
    brighter.update(judged(video))
    # 0 between the first two, 0.2 of a range of 1, squared, between the others
    assert brighter.compute().item() == pytest.approx((0 + 0.2**2) / 2, rel=1e-5)


def test_a_frozen_clip_wins_the_warp_error():
    scenes = moving_scenes(2)
    found = {}
    for name, video in (made_of(**scenes) | {"true": scenes["truth"]}).items():
        metric = WarpError()
        metric.update(judged(video))
        found[name] = metric.compute().item()
    assert WarpError.frozen_clip_wins
    assert found["frozen"] == found["grey"] == 0
    assert 0 < found["true"] < 0.01 < found["noise"], found
