"""The condition on a motion that can be followed by hand."""

import pytest
import torch

from movideo.motion.condition import (
    ConditionTransform,
    DepthOnly,
    NoMask,
    NoWarpedLatent,
    motion_condition,
)
from movideo.motion.space import Motion, MotionSpace, PerFrameMotionSpace

SIZE = (16, 16)
SPACE = MotionSpace((8, 8))


def shifted(dx: float, frames: int = 2):
    """Everything moves right by `dx` pixels from the key frame 0 to frame 1."""
    into_key, from_key = torch.zeros(2, 1, frames, 2, *SIZE)
    into_key[:, 1, 0], from_key[:, 1, 0] = -dx, dx
    return into_key, from_key


def made(flow_i2v, flow_v2i, **changes):
    depth = torch.linspace(0, 5, 16).view(1, 1, 1, 1, 16).expand(1, 2, 1, 16, 16)
    key_latent = torch.arange(4.0).expand(1, 2, 4, 4) + 1
    options = {"size": SIZE, "motion_space": SPACE} | changes
    return motion_condition(Motion(depth, flow_i2v, flow_v2i), key_latent, **options)


def test_latent_moves_by_the_flow_in_latent_cells():
    condition = made(*shifted(4.0))
    assert condition.channels().shape == (1, 2, 1 + 2 + 1, 4, 4)
    # 4 pixels are one cell; what enters from the left was not seen
    assert condition.visible[0, 1, 0, 0].tolist() == [0, 1, 1, 1]
    assert condition.channels()[0, 1, 1, 0].tolist() == [0, 1, 2, 3]


def test_key_frame_is_untouched():
    condition = made(*shifted(4.0))
    assert (condition.visible[:, 0] == 1).all()
    assert condition.channels()[0, 0, 1, 0].tolist() == [1, 2, 3, 4]


def test_mask_is_the_visible_share_of_a_cell():
    # 1 pixel of the first 4 is not seen; on the latent's own grid a quarter of a cell would pass
    assert made(*shifted(1.0)).visible[0, 1, 0, 0].tolist() == [0.75, 1, 1, 1]


def test_depth_is_normalised_on_the_motion_grid():
    condition = made(*shifted(0.0))
    assert condition.depth.amin() >= -1
    assert condition.depth.amax() <= 1
    # Grid columns are pixels 1, 3 ... 15, normalised to -1 ... 1 in steps of 2/7; the latent takes
    # every second of those.
    expected = torch.tensor([-1 + 2 / 7 * i for i in (1, 3, 5, 7)])
    torch.testing.assert_close(condition.depth[0, 0, 0, 0], expected)


def test_depth_is_normalised_as_the_space_does():
    depth = torch.linspace(0, 5, 16).expand(2, 1, 16, 16) * torch.tensor([1.0, 2]).view(2, 1, 1, 1)
    flows = shifted(0.0)
    found = motion_condition(
        Motion(depth[None], *flows), torch.rand(1, 2, 4, 4), SIZE, PerFrameMotionSpace((8, 8))
    )
    expected = torch.tensor([-1 + 2 / 7 * i for i in (1, 3, 5, 7)])  # as above, in both frames
    torch.testing.assert_close(found.depth[0, :, 0, 0], expected.expand(2, 4))


def test_coarse_clips_alone_go_through_the_grid():
    flows = [flow.repeat(2, 1, 1, 1, 1) for flow in shifted(4.0)]
    flows[0][:, 1, :, ::2] = 0  # rows that a grid of half the size does not sample
    depth, latent = torch.rand(2, 2, 1, *SIZE), torch.rand(2, 2, 4, 4)
    condition = motion_condition(
        Motion(depth, *flows), latent, SIZE, SPACE, coarse=torch.tensor([False, True])
    )
    whole = motion_condition(Motion(depth, *flows), latent, SIZE, SPACE)
    assert torch.equal(condition.visible[0], whole.visible[0])
    assert condition.visible[1, 1, 0, 0].tolist() == [0, 1, 1, 1]
    assert condition.visible[0, 1, 0, 0, 1] < 1


@pytest.mark.parametrize("scale", [0.0, 1e-3])
def test_no_motion_and_flat_depth_are_finite(scale):
    flows = [flow * scale for flow in shifted(4.0)]
    condition = motion_condition(
        Motion(torch.full((1, 2, 1, *SIZE), 7.0), *flows), torch.rand(1, 2, 4, 4), SIZE, SPACE
    )
    assert condition.channels().isfinite().all()
    assert (condition.depth == 0).all()


@pytest.mark.parametrize(
    ("transform", "latent", "mask"),
    [
        # The frame's first row: 4 pixels right are one cell, and the border repeats where warping
        # leaves the image; Eq. 12's mask takes that away, where there is one.
        (ConditionTransform(), [0, 1, 2, 3], [0, 1, 1, 1]),
        (NoWarpedLatent(), [0, 0, 0, 0], [0, 1, 1, 1]),
        (NoMask(), [1, 1, 2, 3], [1, 1, 1, 1]),
        (DepthOnly(), [0, 0, 0, 0], [1, 1, 1, 1]),
    ],
)
def test_what_a_transform_shows_of_the_condition(transform, latent, mask, tmp_path):
    whole = made(*shifted(4.0))
    transform.save_pretrained(tmp_path)
    for one in (transform, type(transform).from_pretrained(tmp_path)):
        depth, *latents, visible = one(whole).channels()[0, 1, :, 0]
        assert torch.equal(depth, whole.depth[0, 1, 0, 0])
        assert [channel.tolist() for channel in latents] == [latent, latent]
        assert visible.tolist() == mask
