"""Scale and shift of flickering depth, found back from scenes with exact flow."""

import pytest
import torch

from movideo.estimators.depth_alignment import align_frames
from movideo.scenes.render import render_scene


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_known_flicker_is_undone(seed):
    scene = render_scene(seed, num_frames=5)
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(5, generator=generator) + 0.5
    shift = torch.randn(5, generator=generator)
    scale[2], shift[2] = 1, 0
    flickering = scene.depth * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1)
    found = align_frames(flickering, scene.flow_i2v, scene.flow_v2i, key_index=2)
    assert found[2].tolist() == [1.0, 0.0]
    aligned = flickering * found[:, 0].view(-1, 1, 1, 1) + found[:, 1].view(-1, 1, 1, 1)
    # Bilinear sampling at edges and pixels that the mask lets through change the spread by a few
    # percent; without alignment the error is about 1, ten times the depth's spread.
    assert (found[:, 0] * scale - 1).abs().max() < 0.05
    assert (aligned - scene.depth).abs().max() < 0.05


def test_steady_depth_stays():
    scene = render_scene(3, num_frames=5)
    found = align_frames(scene.depth, scene.flow_i2v, scene.flow_v2i, key_index=2)
    assert (found[:, 0] - 1).abs().max() < 0.05
    assert found[:, 1].abs().max() < 0.05


def test_identity_where_nothing_can_be_told():
    zero = torch.zeros(3, 2, 16, 16)
    outside = zero.clone()
    outside[0] = 100.0  # nothing of frame 0 is in the key frame
    ramp = torch.arange(16.0).expand(3, 1, 16, 16).clone()
    ramp[2] = 5.0  # flat: its scale means nothing
    found = align_frames(ramp + torch.tensor([9.0, 0, 0]).view(3, 1, 1, 1), outside, outside, 1)
    assert found.tolist() == [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    flat = align_frames(torch.zeros(3, 1, 16, 16), zero, zero, 1)
    assert flat.tolist() == [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
