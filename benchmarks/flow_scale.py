"""Error and time of `estimate_flow_scale` on synthetic scenes, as a Markdown table.

    python benchmarks/flow_scale.py --scenes 100

Depth and exact flow of a 64x64 scene are brought to each grid by centre samples, normalised there,
and the scale is estimated. Rows are bins of the scene's longest flow vector at 64x64; cells are the
median relative error.
"""

import argparse
import time

import torch
from tqdm import trange

from movideo import ops
from movideo.video.scenes import render_scene

GRIDS = (64, 32, 16)
BINS = ((2, 4), (4, 8), (8, 16), (16, float("inf")))
FIRST_SEED = 10_000


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=100)
    maxima, errors, seconds = measure(parser.parse_args().scenes)
    print(f"| largest motion at 64, px | scenes | {' | '.join(f'grid {grid}' for grid in GRIDS)} |")
    print("| --- " * (2 + len(GRIDS)) + "|")
    for low, high in (*BINS, (4, float("inf"))):
        chosen = (maxima >= low) & (maxima < high)
        if chosen.any():
            cells = " | ".join(
                f"{error:.1%}" for error in errors[chosen].median(dim=0).values.tolist()
            )
            print(
                f"| {low} to {high} | {int(chosen.sum())} | {cells} |".replace(
                    " to inf", " and more"
                )
            )
    times = " | ".join(f"{1000 * second:.0f} ms" for second in seconds.tolist())
    print(f"| time a clip of 17 frames | {len(maxima)} | {times} |")


def measure(scenes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Longest vectors at 64x64 `(N,)`, relative errors `(N, grids)`, mean seconds `(grids,)`."""
    maxima, errors, seconds = [], [], []
    for seed in trange(FIRST_SEED, FIRST_SEED + scenes, desc="scenes"):
        scene = render_scene(seed)
        labels = [x[None] for x in (scene.depth, scene.flow_i2v, scene.flow_v2i)]
        results = [estimate_on_grid(*labels, grid, scene.key_index) for grid in GRIDS]
        maxima.append(results[0][0])
        errors.append([abs(estimate - true) / true for true, estimate, _ in results])
        seconds.append([second for _, _, second in results])
    return torch.tensor(maxima), torch.tensor(errors), torch.tensor(seconds).mean(dim=0)


def estimate_on_grid(
    depth: torch.Tensor, flow_i2v: torch.Tensor, flow_v2i: torch.Tensor, grid: int, key_index: int
) -> tuple[float, float, float]:
    """True and estimated scale in pixels of the grid, and the seconds that the estimate took."""
    size = (grid, grid)
    flows = [ops.resize_flow(flow, size) for flow in (flow_i2v, flow_v2i)]
    flow_i2v, flow_v2i, true = ops.normalize_flow(flows[0], flows[1])
    depth = ops.normalize_depth(ops.resize(depth, size))
    start = time.perf_counter()
    estimate = ops.estimate_flow_scale(depth, flow_i2v, flow_v2i, key_index)
    return true.item(), estimate.item(), time.perf_counter() - start


if __name__ == "__main__":
    main()
