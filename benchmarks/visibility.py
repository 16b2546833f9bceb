"""What rules of visibility make of generated motion: exact flow, made as wrong as stage 1's is.

python -m benchmarks.visibility [--stage_1 CHECKPOINT]

Flow of scenes passes through the motion grid and back, without errors and with them: smooth and
independent in both directions, a share of the local length, and edges off by half a cell of the
grid, the depth's as well. The truth is the scenes' own. With a stage 1 also of its samples, whose
motion is another than the truth: there the visible share says whether a rule is too strict.
"""

import argparse
import math
from datetime import date

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor
from tqdm import tqdm

from benchmarks.stage_one import sampled_motion, with_stage_one
from movideo import ops
from movideo.motion.visibility import Consistency, Coverage, TolerantConsistency, Visibility
from movideo.ops.length import vector_length
from movideo.scenes.files import SceneSettings
from movideo.scenes.render import Scene

SEED = 20261127
SIGMA = 8.0  # pixels over which the error changes
RULES: dict[str, Visibility] = {
    "Eq. 11 as printed": Consistency(),
    "tolerant": TolerantConsistency(),
    "coverage": Coverage(),
}
Flows = tuple[Tensor, Tensor, Tensor]  # flow_i2v, flow_v2i, depth


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--grid", type=int, default=32)
    parser.add_argument("--error", type=float, default=0.1, help="RMS, share of the length")
    parser.add_argument("--stage_1", help="a checkpoint, or a model folder")
    options = parser.parse_args()
    pipeline = with_stage_one(options.stage_1) if options.stage_1 else None
    size, grid = (options.size, options.size), (options.grid, options.grid)
    settings = SceneSettings(options.scenes, SEED, size=size)
    found: dict[str, list[tuple[float, float]]] = {}
    rates = []
    for index in tqdm(range(options.scenes), desc="scenes"):
        scene = settings.render(index)
        rates.append(scene.fps)
        random = torch.Generator().manual_seed(index)
        exact = scene.flow_i2v, scene.flow_v2i, scene.depth
        cases = {
            "exact, full size": exact,
            "exact, through the grid": through(exact, grid, size),
            "generated": through(
                disturbed(scene, options.error, options.size // options.grid // 2, random),
                grid,
                size,
            ),
        }
        if pipeline is not None:
            motion = sampled_motion(pipeline, scene, 1, index, steps=16)
            fields = motion.flow_i2v, motion.flow_v2i, motion.depth
            cases["samples of stage 1"] = fields[0][0], fields[1][0], fields[2][0]
        for case, flows in cases.items():
            for name, rule in RULES.items():
                mask = rule(*(field[None] for field in flows))[0] > 0.5
                found.setdefault(f"{case} | {name}", []).append(compare(scene, mask))
    print("| motion | rule | IoU, occluded | visible share, beside the truth |")
    print("| --- | --- | ---: | ---: |")
    for name, values in found.items():
        iou, share = torch.tensor(values).nanmean(0).tolist()
        print(f"| {name} | {iou:.3f} | {share:+.3f} |")
    rates_text = ", ".join(map(str, sorted(rates)))
    print(f"\n{settings}, frame rates {rates_text}; {date.today()}")


def through(flows: Flows, grid: tuple[int, int], size: tuple[int, int]) -> Flows:
    """Down to the motion grid and up again, depth normalised as stage 1 gives it."""
    flow_i2v, flow_v2i, depth = flows
    coarse = ops.normalize_depth(ops.resize(depth, grid))
    return (
        ops.resize_flow(ops.resize_flow(flow_i2v, grid), size),
        ops.resize_flow(ops.resize_flow(flow_v2i, grid), size),
        ops.resize(coarse, size),
    )


def disturbed(scene: Scene, error: float, shift: int, random: torch.Generator) -> Flows:
    """The scene's motion with errors; the key frame moves nowhere, as after sampling."""
    flows = []
    for flow in (scene.flow_i2v, scene.flow_v2i):
        noise = torch.randn(flow.shape, generator=random)
        width = int(6 * SIGMA) | 1
        smooth = gaussian_blur2d(noise, (width, width), (SIGMA, SIGMA), border_type="circular")
        smooth = smooth / smooth.std() / math.sqrt(2)  # of a vector's length, not of a component
        wrong = _shifted(flow + error * vector_length(flow).unsqueeze(-3) * smooth, shift, random)
        wrong[scene.key_index] = 0
        flows.append(wrong)
    return flows[0], flows[1], _shifted(scene.depth, shift, random)


def _shifted(field: Tensor, shift: int, random: torch.Generator) -> Tensor:
    """Edges off by so many pixels, one of four ways."""
    way = int(torch.randint(4, (1,), generator=random))
    x, y = ((1, 0), (-1, 0), (0, 1), (0, -1))[way]
    padded = F.pad(field, (shift,) * 4, mode="replicate")
    height, width = field.shape[-2:]
    top, left = shift + y * shift, shift + x * shift
    return padded[..., top : top + height, left : left + width].clone()


def compare(scene: Scene, mask: Tensor) -> tuple[float, float]:
    """IoU of the occluded class, and by how much the visible share differs, key frame apart."""
    others = torch.arange(len(mask)) != scene.key_index
    found, truth = ~mask[others], scene.visible[others] < 0.5
    union = (found | truth).sum()
    iou = float((found & truth).sum() / union) if union else math.nan
    return iou, float(truth.float().mean() - found.float().mean())


if __name__ == "__main__":
    main()
