"""Operations on flow beside one bilinear sampling of the clip, which each of them needs."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer

from benchmarks.table import Row, ratio
from movideo import ops
from movideo.scenes.render import render_scene

GRID = (32, 32)


def milliseconds(call: Callable[[], object]) -> float:
    """Median of as many calls as fit into a third of a second."""
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return 1000 * float(timer.blocked_autorange(min_run_time=0.3).median)


def rows(rounds: int) -> list[Row]:
    """Times of clips of 17x64x64, and of the scale on the motion grid."""
    scene = render_scene(0)
    flow_i2v, flow_v2i = scene.flow_i2v, scene.flow_v2i
    video, key = scene.video, scene.video[scene.key_index]
    places = torch.rand(len(video), *video.shape[-2:], 2) * 2 - 1
    coarse = [ops.resize_flow(flow[None], GRID) for flow in (flow_i2v, flow_v2i)]
    small_i2v, small_v2i, _ = ops.normalize_flow(*coarse)
    small_depth = ops.normalize_depth(ops.resize(scene.depth[None], GRID))
    calls: dict[str, Callable[[], object]] = {
        "sampling": lambda: F.grid_sample(video, places, align_corners=False),
        "warp": lambda: ops.warp(key, flow_i2v),
        "mask": lambda: ops.visible_mask(flow_i2v, flow_v2i),
        "inversion": lambda: ops.invert_flow(flow_v2i, scene.depth),
        "scale": lambda: ops.estimate_flow_scale(
            small_depth, small_i2v, small_v2i, scene.key_index
        ),
        "scene": lambda: render_scene(0),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(milliseconds(call))
    peer = times["sampling"]
    return [
        ratio("warp, of a bilinear sampling", times["warp"], peer),
        ratio("mask, of the same", times["mask"], peer),
        ratio("flow scale on 32x32, of the same", times["scale"], peer),
        ratio("inverting a flow, of the same", times["inversion"], peer),
        ratio("rendering a scene, of the same", times["scene"], peer),
        Row("inverting a flow of 17x64x64", tuple(times["inversion"]), "ms", 30),
        Row("rendering a scene of 17x64x64", tuple(times["scene"]), "ms", 30),
    ]
