import json

import pytest
import torch
from safetensors import safe_open

from movideo.errors import UserError
from movideo.hub.checkpoint import build, describe
from movideo.motion.condition import motion_condition
from movideo.motion.files import load_motion, save_motion
from movideo.motion.space import Motion, MotionSpace
from movideo.motion.visibility import Consistency, Coverage, TolerantConsistency
from movideo.ops import visible_mask
from movideo.scenes.render import render_scene


def missing(*gaps, length=10.0):
    """Flow to the right over a row, whose way back misses by so many pixels; and flat depth."""
    there = torch.zeros(1, 2, 2, 1, len(gaps))
    there[0, 1, 0] = 1e-6  # stays where it is, so that each place leads back to itself
    back = there.clone()
    back[0, 1, 1, 0] = torch.tensor(gaps)
    there[0, 1, 1, 0], back[0, 1, 1, 0] = 0, back[0, 1, 1, 0]
    return there, back, torch.zeros(1, 2, 1, 1, len(gaps))


def test_tolerance_by_hand():
    """Gaps 0.2, 0.4, 0.6, 2, 9; of both frames together the median is 0 for the key frame is."""
    motion = missing(0.2, 0.4, 0.6, 2.0, 9.0)
    # Half of all places are the key frame's: lengths 0 0 0 0 0 0.2 0.4 0.6 2 9, lower median 0.
    tight = TolerantConsistency(alpha=0.0, beta=0.5, gaps=3.0)(*motion)
    assert tight[0, 1, 0, 0].tolist() == [1, 1, 0, 0, 0]
    # Frame 1 alone: median 0.6, so 0.5 + 3 * 0.6 = 2.3 pixels may be missed.
    frame = [field[:, 1:] for field in motion]
    wide = TolerantConsistency(alpha=0.0, beta=0.5, gaps=3.0)(*frame)
    assert wide[0, 0, 0, 0].tolist() == [1, 1, 1, 1, 0]
    # A share of the length besides: 9 pixels are missed, 0.8 of 0 + 9 and 2.3 may be.
    share = TolerantConsistency(alpha=0.8, beta=0.5, gaps=3.0)(*frame)
    assert share[0, 0, 0, 0].tolist() == [1, 1, 1, 1, 1]


def test_each_clip_has_its_own_tolerance():
    still, torn = missing(0.2, 0.2, 0.2, 0.2, 0.2), missing(3.0, 3.0, 3.0, 3.0, 3.0)
    both = [torch.cat(pair)[:, 1:] for pair in zip(still, torn, strict=True)]
    rule = TolerantConsistency(alpha=0.0)
    alone = [rule(*(field[:, 1:] for field in clip)) for clip in (still, torn)]
    assert torch.equal(rule(*both), torch.cat(alone))


def test_exact_motion_is_judged_as_the_equation_says():
    scene = render_scene(2, fps=5)
    motion = Motion(scene.depth[None], scene.flow_i2v[None], scene.flow_v2i[None])
    assert torch.equal(motion.visible[0], visible_mask(scene.flow_i2v, scene.flow_v2i))


def test_coverage_is_where_the_key_frame_s_points_land():
    """A block of near pixels moves 4 to the right over a background that stays."""
    flow_v2i, depth = torch.zeros(1, 3, 2, 12, 12), torch.zeros(1, 3, 1, 12, 12)
    flow_v2i[0, 2, 0, 3:7, 2:6], depth[0, :, :, 3:7, 2:6] = 4.0, 1.0
    covered = Coverage()(torch.full_like(flow_v2i, torch.nan), flow_v2i, depth)
    hole = torch.zeros(12, 12, dtype=torch.bool)
    hole[3:7, 2:6] = True  # where the block was; it now hides what is 4 pixels to the right
    assert torch.equal(covered[0, 2, 0] == 0, hole)
    assert bool((covered[:, :2] == 1).all())


def test_coarse_clips_are_judged_by_the_rule_for_coarse_motion():
    class Nothing(Consistency):
        def __call__(self, flow_i2v, flow_v2i, depth):
            return torch.zeros_like(depth)

    flows = torch.zeros(2, 2, 3, 2, 16, 16)
    condition = motion_condition(
        Motion(torch.rand(2, 3, 1, 16, 16), *flows),
        torch.rand(2, 4, 4, 4),
        (16, 16),
        MotionSpace((8, 8)),
        coarse=torch.tensor([True, False]),
        coarse_visibility=Nothing(),
    )
    assert bool((condition.visible[0] == 0).all())
    assert bool((condition.visible[1] == 1).all())


def test_a_rule_is_built_again_from_what_is_said_of_it():
    rule = build(describe(TolerantConsistency(alpha=0.2, gaps=1.0), frozen=False))
    assert type(rule) is TolerantConsistency
    assert (rule.alpha, rule.beta, rule.gaps) == (0.2, 0.5, 1.0)


def test_a_motion_file_keeps_the_rule(tmp_path):
    generator = torch.Generator().manual_seed(0)
    flows = torch.randn(2, 1, 3, 2, 8, 8, generator=generator)
    motion = Motion(torch.rand(1, 3, 1, 8, 8), *flows, TolerantConsistency(gaps=2.0))
    save_motion(tmp_path / "motion.safetensors", motion)
    loaded = load_motion(tmp_path / "motion.safetensors", 3, (8, 8))
    assert loaded.visibility.gaps == 2.0
    assert torch.equal(loaded.visible, motion.visible)
    with safe_open(tmp_path / "motion.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("visible"), motion.visible[0])


def test_a_rule_of_a_strange_package_needs_trust(tmp_path):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "motion.safetensors"
    save_motion(path, Motion(torch.rand(1, 3, 1, 8, 8), *torch.zeros(2, 1, 3, 2, 8, 8)))
    rule = {"class_path": "elsewhere.Rule", "config": {}}
    save_file(load_file(path), path, {"visibility": json.dumps(rule)})
    with pytest.raises(UserError, match="elsewhere"):
        load_motion(path, 3, (8, 8))
