import pytest
import torch

from movideo.ops import estimate_flow_scale, normalize_depth, normalize_flow
from movideo.scenes.render import render_scene


def bump_clip(
    shift: tuple[float, float], key: int = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A smooth bump that moves by `shift` a frame, everything with it; three frames."""
    ys, xs = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    steps = torch.arange(3.0) - key
    motion = steps[:, None] * torch.tensor(shift)
    depth = torch.stack(
        [torch.exp(-((xs - 16 - dx) ** 2 + (ys - 16 - dy) ** 2) / 18) for dx, dy in motion]
    )
    flow_v2i = motion[:, :, None, None].expand(-1, -1, 32, 32)
    return depth[None, :, None], -flow_v2i[None], flow_v2i[None]


@pytest.mark.parametrize("shift", [(5.0, 0.0), (0.0, -3.0), (3.0, 4.0)])
def test_finds_a_known_shift(shift: tuple[float, float]) -> None:
    depth, flow_i2v, flow_v2i = bump_clip(shift)
    flow_i2v, flow_v2i, scale = normalize_flow(flow_i2v, flow_v2i)
    estimate = estimate_flow_scale(normalize_depth(depth), flow_i2v, flow_v2i, 1)
    # A whole-pixel shift is warped exactly: what is left is the search's last bracket, under 0.1%.
    assert torch.allclose(estimate, scale, rtol=1e-3)


def test_swapped_flows_do_not_find_it() -> None:
    depth, flow_i2v, flow_v2i = bump_clip((5.0, 0.0))
    flow_i2v, flow_v2i, scale = normalize_flow(flow_i2v, flow_v2i)
    estimate = estimate_flow_scale(normalize_depth(depth), flow_v2i, flow_i2v, 1)
    assert (estimate - scale).abs() > 0.5 * scale


def test_a_batch_gives_what_its_clips_give() -> None:
    clips = [bump_clip((4.0, 0.0), key=0), bump_clip((2.0, 5.0), key=2)]
    depth, flow_i2v, flow_v2i = (torch.cat(parts) for parts in zip(*clips, strict=True))
    flow_i2v, flow_v2i, scale = normalize_flow(flow_i2v, flow_v2i)
    depth = torch.cat([normalize_depth(depth[:1]), normalize_depth(depth[1:])])
    together = estimate_flow_scale(depth, flow_i2v, flow_v2i, torch.tensor([0, 2]))
    alone = [
        estimate_flow_scale(depth[i : i + 1], flow_i2v[i : i + 1], flow_v2i[i : i + 1], 2 * i)
        for i in range(2)
    ]
    assert torch.equal(
        together, estimate_flow_scale(depth, flow_i2v, flow_v2i, torch.tensor([0, 2]))
    )
    assert torch.allclose(
        together, torch.cat(alone), rtol=1e-3
    )  # sums in another order, the same bracket
    assert torch.allclose(together, scale, rtol=1e-3)


@pytest.mark.parametrize("flat", ["depth", "flow", "both"])
def test_nothing_to_go_by_stays_finite(flat: str) -> None:
    depth, flow_i2v, flow_v2i = bump_clip((5.0, 0.0))
    depth = depth * 0 + 3 if flat != "flow" else depth
    flow_i2v, flow_v2i = (flow * (flat == "depth") for flow in (flow_i2v, flow_v2i))
    flow_i2v, flow_v2i, _ = normalize_flow(flow_i2v, flow_v2i)
    estimate = estimate_flow_scale(normalize_depth(depth), flow_i2v, flow_v2i, 1)
    assert estimate.isfinite().all()
    assert (estimate > 0).all()


def test_median_error_on_scenes() -> None:
    errors = []
    for seed in range(32):
        scene = render_scene(seed)
        flow_i2v, flow_v2i, scale = normalize_flow(scene.flow_i2v[None], scene.flow_v2i[None])
        if scale <= 4:
            continue
        estimate = estimate_flow_scale(
            normalize_depth(scene.depth[None]), flow_i2v, flow_v2i, scene.key_index
        )
        errors.append((estimate - scale).abs() / scale)
    assert len(errors) >= 15
    assert torch.cat(errors).median() < 0.03
