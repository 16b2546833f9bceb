"""What warping, mask and flow scale achieve on the frozen scenes.

    python -m benchmarks.scene_metrics

Labels are exact, so what is measured is the method. The scenes' difficulty is printed with the
metrics. The flow scale is estimated on grids that labels are brought to by centre samples.
"""

import argparse
import platform
import time
from dataclasses import replace
from datetime import date

import torch
from torch import Tensor
from tqdm import tqdm

from datamodules.video_clips import FROZEN_SCENES
from movideo import ops
from movideo.metrics import masked_psnr, resampling_psnr
from movideo.scenes.render import Scene

GRIDS = (64, 32, 16)
BINS = ((2, 4), (4, 8), (8, 16), (16, float("inf")), (4, float("inf")))
MOVING = 8.0  # pixels; scenes whose mask is measured move at least this far


def main() -> None:
    """Prints two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--readable", type=float, default=1.0, help="share of readable scenes")
    options = parser.parse_args()
    size = (options.size, options.size)
    settings = replace(FROZEN_SCENES, count=options.scenes, size=size, readable=options.readable)
    scenes = [settings.render(index) for index in tqdm(range(options.scenes), "rendering")]
    print(f"{settings}; {platform.machine()}, {date.today()}\n")
    print_labels(scenes)
    print()
    print_flow_scale(scenes)


def longest(scene: Scene) -> float:
    """The longest vector of either flow in pixels."""
    return max(float(flow.norm(dim=1).max()) for flow in (scene.flow_i2v, scene.flow_v2i))


# ---------------------------------------------------------------------------------- warp and mask


def print_labels(scenes: list[Scene]) -> None:
    """Difficulty of the scenes, warping and mask."""
    others = [_without_key(scene) for scene in scenes]
    moving = [scene for scene in scenes if longest(scene) > MOVING]
    rows = {
        "PSNR of 4x down and up sampling, dB": _mean(
            float(resampling_psnr(scene.video[None])) for scene in scenes
        ),
        "share of occluded pixels": _mean(
            float(1 - scene.visible[other].mean())
            for scene, other in zip(scenes, others, strict=True)
        ),
        "key frame warped by flow_i2v, visible pixels, dB": _mean(map(_warp_psnr, scenes)),
        "the same with the flows swapped, dB": _mean(_warp_psnr(s, swapped=True) for s in scenes),
        f"mask IoU, occluded, scenes over {MOVING:.0f} px": _mean(_iou(s, 0) for s in moving),
        f"mask IoU, visible, scenes over {MOVING:.0f} px": _mean(_iou(s, 1) for s in moving),
    }
    print("| metric, mean over scenes | value |\n| --- | --- |")
    for name, value in rows.items():
        print(f"| {name} | {value:.3f} |")


def _mean(values: object) -> float:
    return float(torch.tensor(list(values)).mean())  # type: ignore[call-overload]


def _without_key(scene: Scene) -> Tensor:
    return torch.arange(len(scene.video)) != scene.key_index


def _warp_psnr(scene: Scene, swapped: bool = False) -> float:
    flow = scene.flow_v2i if swapped else scene.flow_i2v
    warped = ops.warp(scene.video[scene.key_index], flow)
    other = _without_key(scene)
    metrics = masked_psnr(warped[None, other], scene.video[None, other], scene.visible[None, other])
    return float(metrics)


def _iou(scene: Scene, value: int) -> float:
    other = _without_key(scene)
    mask = ops.visible_mask(scene.flow_i2v, scene.flow_v2i)[other] == value
    truth = scene.visible[other] == value
    return float((mask & truth).sum() / (mask | truth).sum())


# ---------------------------------------------------------------------------------- flow scale


def print_flow_scale(scenes: list[Scene]) -> None:
    """Median relative error of the scale by grid and by the longest vector."""
    maxima = torch.tensor([longest(scene) for scene in scenes])
    results = torch.tensor([[estimate_on_grid(scene, g) for g in GRIDS] for scene in tqdm(scenes)])
    print(f"| largest motion, px | scenes | {' | '.join(f'grid {grid}' for grid in GRIDS)} |")
    print("| --- " * (2 + len(GRIDS)) + "|")
    for low, high in BINS:
        chosen = (maxima >= low) & (maxima < high)
        if chosen.any():
            medians = results[chosen, :, 0].median(dim=0).values.tolist()
            cells = " | ".join(f"{error:.1%}" for error in medians)
            span = f"{low} and more" if high == float("inf") else f"{low} to {high}"
            print(f"| {span} | {int(chosen.sum())} | {cells} |")
    times = " | ".join(f"{1000 * second:.0f} ms" for second in results[..., 1].mean(0).tolist())
    print(f"| time a clip of {len(scenes[0].video)} frames | {len(maxima)} | {times} |")


def estimate_on_grid(scene: Scene, grid: int) -> tuple[float, float]:
    """Relative error of the scale found on a grid, and the seconds that finding it took."""
    size = (grid, grid)
    flows = [ops.resize_flow(flow[None], size) for flow in (scene.flow_i2v, scene.flow_v2i)]
    flow_i2v, flow_v2i, true = ops.normalize_flow(flows[0], flows[1])
    depth = ops.normalize_depth(ops.resize(scene.depth[None], size))
    start = time.perf_counter()
    found = ops.estimate_flow_scale(depth, flow_i2v, flow_v2i, scene.key_index)
    return float((found - true).abs() / true), time.perf_counter() - start


if __name__ == "__main__":
    main()
