import pytest
import torch

from movideo.ops import pool_mask, visible_mask
from movideo.scenes.render import render_scene


def test_no_motion_is_visible() -> None:
    assert torch.equal(
        visible_mask(torch.zeros(2, 3, 2, 4, 5), torch.zeros(2, 3, 2, 4, 5)),
        torch.ones(2, 3, 1, 4, 5),
    )


def test_points_that_leave_the_image_are_occluded() -> None:
    flow = torch.zeros(2, 3, 8)
    flow[0] = 3
    assert visible_mask(flow, -flow)[0].tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]] * 3
    flow = torch.zeros(2, 3, 8)
    flow[1] = -1
    assert visible_mask(flow, -flow)[0, :, 0].tolist() == [0, 1, 1]


def test_a_pixel_reaches_half_a_pixel_beyond_its_centre() -> None:
    flow = torch.zeros(2, 1, 4)
    flow[0] = 0.5
    assert visible_mask(flow, -flow)[0, 0].tolist() == [1, 1, 1, 1]
    flow[0] = 0.51
    assert visible_mask(flow, -flow)[0, 0].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(("gap", "visible"), [(0.55, 1.0), (0.65, 0.0)])
def test_threshold(gap: float, visible: float) -> None:
    """6 pixels there and 6 + gap back: the threshold is 0.01 (12 + gap) + 0.5, just over 0.62."""
    flow_i2v, flow_v2i = torch.zeros(2, 1, 20), torch.zeros(2, 1, 20)
    flow_i2v[0], flow_v2i[0] = 6, -6 - gap
    assert visible_mask(flow_i2v, flow_v2i)[0, 0, 0] == visible


def test_the_threshold_takes_the_warped_flow() -> None:
    """Pixel 0 lands on pixel 2, whose way back misses by 1. The 100 at pixel 0 would allow 1.5."""
    flow_i2v, flow_v2i = torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)
    flow_i2v[0, 0, 0], flow_v2i[0, 0, 0], flow_v2i[0, 0, 2] = 2, 100, -1
    assert visible_mask(flow_i2v, flow_v2i)[0, 0, 0] == 0


def test_agrees_with_exact_visibility() -> None:
    occluded, visible = [], []
    for seed in range(32):
        scene = render_scene(seed)
        if scene.flow_i2v.norm(dim=1).max() <= 8:
            continue
        mask, truth = visible_mask(scene.flow_i2v, scene.flow_v2i).bool(), scene.visible.bool()
        occluded.append((~mask & ~truth).sum() / (~mask | ~truth).sum())
        visible.append((mask & truth).sum() / (mask | truth).sum())
    assert len(occluded) >= 8
    assert torch.stack(occluded).mean() > 0.7
    assert torch.stack(visible).mean() > 0.93


def test_pooling_gives_the_visible_share() -> None:
    mask = torch.tensor([[1.0, 0, 1, 1], [1, 0, 1, 1]]).reshape(1, 1, 1, 2, 4)
    assert pool_mask(mask, (1, 2)).tolist() == [[[[[0.5, 1.0]]]]]
