"""Parallax depth against the true depth of scenes, and where there is nothing to see."""

import pytest
import torch
from torchmetrics.functional import spearman_corrcoef

from movideo.estimators import DISFlow, FlowEstimator, ParallaxDepth
from movideo.estimators.parallax_depth import remove_dominant_motion
from movideo.scenes.render import render_scene


class TableFlow(FlowEstimator):
    """Gives the flow it was given, negated towards the past."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow
        self.calls = 0

    def init_args(self):
        return {}

    def forward(self, source, target):
        self.calls += 1
        return self.flow.expand(len(source), -1, -1, -1) * (-1) ** (self.calls + 1)


def test_affine_motion_of_the_majority_is_removed():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(48.0), indexing="ij")
    affine = torch.stack([0.05 * x - 0.02 * y + 1.5, 0.03 * x + 0.01 * y - 2])
    flow = affine.clone()
    flow[:, 5:20, 8:24] += torch.tensor([3.0, -1.0])[:, None, None]
    residual = remove_dominant_motion(flow[None])[0]
    expected = flow - affine
    # The object's 12% of the pixels keep a weight of about (NOISE / 3.2)^4 = 6e-8 each.
    assert (residual - expected).abs().max() < 1e-3


def test_nearer_is_larger_and_steady_in_time():
    motion = torch.zeros(1, 2, 64, 64)
    motion[:, 0] = 1.0  # the background
    motion[:, 0, 8:24, 8:24] = 2.0
    motion[:, 0, 40:56, 40:56] = 4.0
    video = motion[:, :1].repeat(5, 3, 1, 1) / 4  # an edge in the image wherever depth has one
    depth = ParallaxDepth(TableFlow(motion))(video)
    assert depth.shape == (5, 1, 64, 64)
    # Centres, farther than the blur's radius of 4 from the edges: no mixing.
    far, middle, near = depth[:, 0, 32, 6], depth[:, 0, 16, 16], depth[:, 0, 48, 48]
    assert (far < 0.01).all()
    assert (middle > far + 0.3).all()
    assert (near > middle + 0.1).all()
    assert torch.allclose(depth, depth[:1].expand_as(depth))


def test_rank_correlation_with_true_depth():
    correlations = []
    for seed in range(2000, 2008):
        scene = render_scene(seed)
        estimate = ParallaxDepth()(scene.video)
        pair = (field[::4].flatten() for field in (estimate, scene.depth))
        correlations.append(float(spearman_corrcoef(*pair)))
    # Measured over 24 scenes: mean 0.54, least 0.16. Eight scenes' mean spreads by about 0.06.
    assert sum(correlations) / len(correlations) > 0.4
    assert min(correlations) > 0


def test_rank_correlation_where_the_blur_is_computed_on_a_smaller_grid():
    correlations = []
    for seed in range(2000, 2004):
        scene = render_scene(seed, num_frames=5, size=(256, 256))
        pair = (field.flatten()[::16] for field in (ParallaxDepth()(scene.video), scene.depth))
        correlations.append(float(spearman_corrcoef(*pair)))
    # Measured over 8 scenes: mean 0.560, on the full grid 0.560; least 0.42.
    assert sum(correlations) / len(correlations) > 0.4
    assert min(correlations) > 0


@pytest.mark.parametrize("num_frames", [1, 2, 3, 5])
def test_no_motion_gives_flat_depth(num_frames):
    frame = render_scene(1, num_frames=1).video
    depth = ParallaxDepth()(frame.repeat(num_frames, 1, 1, 1))
    assert depth.shape == (num_frames, 1, 64, 64)
    assert (depth == 0).all()


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 64, 64), (3, 3, 1, 1), (4, 3, 2, 70)])
def test_any_shape_gives_finite_depth(shape):
    video = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    depth = ParallaxDepth()(video)
    assert depth.isfinite().all()
    assert (depth >= 0).all()
    assert (depth < 1).all()


def test_settings_name_the_flow_estimator_too():
    settings = ParallaxDepth(DISFlow(enlarge=False)).settings()
    assert settings["init_args"]["flow_estimator"] == DISFlow(enlarge=False).settings()
