"""Stage 1's space: labels in, labels out."""

import pytest
import torch

from movideo.motion.space import MotionSpace, PerFrameMotionSpace, QuantileMotionSpace
from movideo.ops import normalize_flow, resize, resize_flow, visible_mask
from movideo.scenes.render import render_scene

SPACE = MotionSpace((32, 32), depth_std=0.5, flow_std=0.25)


def labels(*seeds):
    scenes = [render_scene(seed, num_frames=5, fps=3) for seed in seeds]
    fields = ("depth", "flow_i2v", "flow_v2i")
    return [torch.stack([getattr(scene, field) for scene in scenes]) for field in fields]


@pytest.fixture(scope="module")
def moving():
    """Six scenes with a largest motion over 8 pixels, where Eq. 10 says a lot."""
    found = []
    seed = 0
    while len(found) < 6:
        depth, into, out_of = labels(seed)
        if normalize_flow(into, out_of)[2] > 8:
            found.append((depth, into, out_of))
        seed += 1
    return [torch.cat(field) for field in zip(*found, strict=True)]


def test_encoded_labels_are_normalised_over_each_clip(moving):
    sample = SPACE.encode(*moving)
    assert sample.shape == (6, 5, 5, 32, 32)
    depth, flows = sample[:, :, :1] * 0.5, (sample[:, :, 1:] * 0.25).unflatten(2, (2, 2))
    longest = flows.norm(dim=3).flatten(1).amax(1)
    # float32: one division and one multiplication
    torch.testing.assert_close(longest, torch.ones(6), rtol=1e-5, atol=0)
    assert (depth.flatten(1).amin(1) == -1).all()
    assert (depth.flatten(1).amax(1) == 1).all()
    for i in range(6):  # another clip in the batch changes nothing
        alone = SPACE.encode(*(field[i : i + 1] for field in moving))
        assert torch.equal(sample[i], alone[0])


def test_decoding_gives_the_labels_back(moving):
    key = torch.full((6,), 2)
    motion = SPACE.decode(SPACE.encode(*moving), key, (64, 64))
    for decoded, label in ((motion.flow_i2v, moving[1]), (motion.flow_v2i, moving[2])):
        expected = resize_flow(resize_flow(label, (32, 32)), (64, 64))
        lengths = expected.flatten(1).norm(dim=1)
        ratio = (decoded * expected).flatten(1).sum(1) / lengths**2
        # one clip in the worst case; the median over many scenes at this grid is 2.5%
        assert (ratio - 1).abs().max() < 0.05
        # a scale is all that may differ
        left = (decoded - ratio.view(-1, 1, 1, 1, 1) * expected).flatten(1).norm(dim=1)
        assert (left / lengths).max() < 1e-4


def test_key_frame_stands_still_and_is_visible():
    key = torch.tensor([0, 3])
    sample = torch.randn(2, 5, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    motion = SPACE.decode(sample, key, (64, 64))
    mask = visible_mask(motion.flow_i2v, motion.flow_v2i)
    for i, k in enumerate(key):
        assert (motion.flow_i2v[i, k] == 0).all()
        assert (motion.flow_v2i[i, k] == 0).all()
        assert (mask[i, k] == 1).all()
        others = [f for f in range(5) if f != k]
        assert (motion.flow_i2v[i, others].flatten(1).abs().amax(1) > 0).all()
    assert motion.depth.abs().max() <= 1


def test_depth_comes_back_where_it_was_sampled(moving):
    motion = SPACE.decode(SPACE.encode(*moving), torch.full((6,), 2), (64, 64))
    sampled = resize(moving[0], (32, 32)).flatten(1)
    low, high = sampled.amin(1, keepdim=True), sampled.amax(1, keepdim=True)
    expected = 2 * (sampled - low) / (high - low) - 1
    torch.testing.assert_close(
        resize(motion.depth, (32, 32)).flatten(1), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("motion", [0.0, 1.0])
@pytest.mark.parametrize("relief", [0.0, 1.0])
def test_nothing_moving_and_flat_depth_are_finite(motion, relief):
    depth = 3 + relief * torch.rand(1, 3, 1, 16, 16)
    flow = motion * torch.rand(1, 3, 2, 16, 16)
    space = MotionSpace((8, 8))
    sample = space.encode(depth, flow, flow)
    decoded = space.decode(sample, torch.tensor([1]), (16, 16))
    assert sample.isfinite().all()
    for field in (decoded.depth, decoded.flow_i2v, decoded.flow_v2i):
        assert field.isfinite().all()
    if not motion:
        assert (decoded.flow_i2v == 0).all()


def test_saved_and_loaded(tmp_path):
    MotionSpace((8, 12), 0.5, 0.25).save_pretrained(tmp_path)
    loaded = MotionSpace.from_pretrained(tmp_path)
    assert (loaded.grid, loaded.depth_std, loaded.flow_std) == ((8, 12), 0.5, 0.25)


# ------------------------------------------------------------------------ every frame by itself


def test_every_frame_is_normalised_by_itself():
    space = PerFrameMotionSpace((2, 2), depth_std=0.5, flow_std=0.25)
    depth = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[5.0, 5.0], [7.0, 6.0]]])[None, :, None]
    into, out_of = torch.zeros(2, 1, 2, 2, 2, 2)
    into[0, 1, :, 0, 0] = torch.tensor([3.0, 4.0])  # 5 pixels: the longest of both of this frame
    out_of[0, 1, 0, 1, 1] = -2
    sample = space.encode(depth, into, out_of)[0]
    assert sample[0, 0].tolist() == [[-2, -1], [0, 2]]  # 2 d / 4 - 1, over 0.5
    assert sample[1, 0].tolist() == [[-2, -2], [2, 0]]
    assert (sample[0, 1:] == 0).all()
    torch.testing.assert_close(sample[1, 1:3, 0, 0], torch.tensor([2.4, 3.2]))
    torch.testing.assert_close(sample[1, 3, 1, 1], torch.tensor(-1.6))


def test_the_scale_of_every_frame_is_found():
    """A bump of depth that moves over a plane: all frames share one range, so Eq. 10 can tell."""
    shifts = torch.tensor([[4.0, 9.0, 0.0, 2.0, 6.5], [3.0, 0.0, 5.0, 8.0, 2.5]])
    key = torch.tensor([2, 1])
    across, down = torch.arange(32.0), torch.arange(32.0)[:, None]
    centres = (12 + shifts)[:, :, None, None]
    depth = (-((across - centres) ** 2 + (down - 16) ** 2) / 40).exp()[:, :, None]
    flow = torch.zeros(2, 5, 2, 32, 32)
    flow[:, :, 0] = shifts[:, :, None, None]
    space = PerFrameMotionSpace((32, 32), 0.5, 0.25)
    sample = space.encode(depth, -flow, flow)
    moves = shifts > 0
    assert (sample[moves][:, 3] == 4).all()  # normalised, all frames move equally far
    motion = space.decode(sample, key, (32, 32))
    # 0.06% of the search's last bracket, and how a bump of 6 pixels is sampled by bilinear warping
    torch.testing.assert_close(motion.flow_v2i, flow, rtol=0.02, atol=0)
    torch.testing.assert_close(motion.flow_i2v, -flow, rtol=0.02, atol=0)
    # One scale for all cannot be right.
    joint = MotionSpace((32, 32), 0.5, 0.25).decode(sample, key, (32, 32)).flow_v2i
    assert ((joint - flow)[moves].abs().amax((1, 2, 3)) > 1).float().mean() > 0.5


def test_the_class_comes_back_from_its_folder(tmp_path):
    PerFrameMotionSpace((8, 12), 0.5, 0.25).save_pretrained(tmp_path)
    loaded = PerFrameMotionSpace.from_pretrained(tmp_path)
    assert type(loaded) is PerFrameMotionSpace
    assert (loaded.grid, loaded.depth_std, loaded.flow_std) == ((8, 12), 0.5, 0.25)


@pytest.mark.parametrize(
    ("grid", "size", "expected"),
    [
        ((32, 32), (64, 64), (32, 32)),
        ((32, 32), (64, 96), (32, 48)),
        ((32, 32), (448, 256), (56, 32)),
        ((32, 32), (40, 61), (32, 49)),  # 48.8
        ((16, 24), (64, 64), (16, 24)),  # somebody's own choice
    ],
)
def test_the_grid_follows_the_aspect_of_the_video(grid, size, expected):
    assert MotionSpace(grid).grid_of(size) == expected


@pytest.mark.parametrize("kind", [MotionSpace, QuantileMotionSpace, PerFrameMotionSpace])
def test_wide_videos_come_back_in_pixels(kind):
    scene = render_scene(2, num_frames=5, size=(32, 48), fps=3, readable=True)
    truth = scene.depth[None], scene.flow_i2v[None], scene.flow_v2i[None]
    space, key = kind((32, 32)), torch.tensor([scene.key_index])
    sample = space.encode(*truth)
    assert sample.shape == (1, 5, 5, 32, 48)
    # Every pixel is a cell of this grid: all that is lost is the scale, which Eq. 10 finds again to
    # a few percent of motion as long as this, and what quantiles cut off.
    found = space.decode(sample, key, (32, 48))
    error = (found.flow_v2i - truth[2]).norm(dim=2)
    assert error.mean() < 0.1 * truth[2].norm(dim=2).mean()


def test_depth_of_any_mean_comes_back(moving):
    space = SPACE.scaled(depth_mean=0.4, depth_std=0.5, flow_std=0.25)
    sample = space.encode(*moving)
    assert torch.allclose(sample[:, :, :1] * 0.5 + 0.4, SPACE.encode(*moving)[:, :, :1] * 0.5)
    key = torch.full((6,), 2)
    depths = [s.split(s.encode(*moving), key).depth for s in (space, SPACE)]
    torch.testing.assert_close(*depths, rtol=0, atol=1e-6)


def test_no_vector_of_a_sample_is_longer_than_what_flow_was_divided_by():
    sample = torch.zeros(1, 2, 5, 4, 4)
    sample[:, 1, 1], sample[:, 1, 2] = 3.0, -4.0  # flow_i2v: 5 long
    sample[:, 1, 3], sample[:, 1, 4] = 0.3, 0.4
    motion = QuantileMotionSpace((4, 4)).split(sample, torch.tensor([0]))
    assert torch.allclose(motion.flow_i2v[0, 1, :, 0, 0], torch.tensor([0.6, -0.8]))
    assert torch.equal(motion.flow_v2i[0, 1, :, 0, 0], torch.tensor([0.3, 0.4]))
    assert (motion.flow_i2v[:, 0] == 0).all()
