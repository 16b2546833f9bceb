"""Whether a picture tells its motion: stage 1 on held-out scenes, readable and free apart.

python -m benchmarks.picture_to_motion CHECKPOINT

On readable scenes one sample, without guidance, against the truth and beside no motion at all, and
what the key frame's tokens foretell by themselves, where the model reads it off them; on
free scenes how much the directions of several samples spread, for there a picture says nothing.
"""

import argparse
import math
from datetime import date
from itertools import combinations

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.stage_one import SEED, sampled_motion, with_stage_one
from movideo.motion.key_frame import resized_picture
from movideo.motion.key_frame_motion import VELOCITY_UNIT, KeyFrameMotion
from movideo.motion.space import Motion
from movideo.ops import normalize_depth
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings
from movideo.scenes.render import Scene

NEAR = 8  # frames from the key frame: all of 17, where that is the centre
LEAST_SEEN = 30  # pixels of the key frame, of a shape that is judged as a whole
MOVING = 0.5  # pixels; what a shape must have moved to have a direction


def readable(
    pipeline: MoVideoPipeline, scenes: int, steps: int, key_index: int | None = None
) -> dict[str, float]:
    """Means over scenes of cosine and end-point errors on moving shapes, and of the depth error."""
    found: dict[str, list[float]] = {}
    settings = SceneSettings(scenes, SEED, readable=1.0)
    for index in tqdm(range(scenes), desc="readable scenes"):
        scene = settings.render(index, key_index=key_index)
        values = compare(scene, sampled_motion(pipeline, scene, 1, index, steps))
        if isinstance(pipeline.key_frame, KeyFrameMotion):
            alone = compare(scene, foretold(pipeline, scene))
            values |= {f"foretold alone: {n}": alone[n] for n in ("cosine", "end-point error, px")}
        for name, value in values.items():
            if not math.isnan(value):
                found.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in found.items()}
    means["of a still's"] = means["end-point error, px"] / means["a still's, px"]
    logs = torch.tensor([found["log scale"], found["log true scale"]])
    means["scale, median of found over true"] = float((logs[0] - logs[1]).median().exp())
    return {name: value for name, value in means.items() if "log" not in name}


@torch.no_grad()
def foretold(pipeline: MoVideoPipeline, scene: Scene) -> Motion:
    """The mean motion that the tokens of a scene's key frame foretell, at an even speed."""
    tokens = pipeline.image_encoder(scene.video[scene.key_index][None])
    size = (scene.video.shape[-2], scene.video.shape[-1])
    maps = resized_picture(pipeline.key_frame.foretell(tokens), size)
    sides = torch.tensor([size[1], size[0]])[:, None, None]
    seconds = (torch.arange(len(scene.video)) - scene.key_index) / scene.fps
    flow = seconds[None, :, None, None, None] * (maps[:, 1:] * VELOCITY_UNIT * sides)[:, None]
    depth = maps[:, None, :1].expand(-1, len(seconds), -1, -1, -1)
    return Motion(depth, -flow, flow)


def compare(scene: Scene, motion: Motion) -> dict[str, float]:
    """Of one sample, over the places of the key frame where a shape moves, frame by frame."""
    found, true = motion.flow_v2i[0], scene.flow_v2i
    lengths = true.norm(dim=1)
    on_shape = (scene.layer[scene.key_index, 0] > 0)[None].expand_as(lengths)
    near = (torch.arange(len(lengths)) - scene.key_index).abs() <= NEAR
    moving = on_shape & (lengths > MOVING) & near[:, None, None]
    cosine = torch.cosine_similarity(found, true, dim=1)[moving]
    error = (found - true).norm(dim=1)[moving]
    depth = motion.depth[0].flatten()
    aligned = normalize_depth(scene.depth).flatten()
    return {
        "cosine": float(cosine.mean()),
        "end-point error, px": float(error.mean()),
        "a still's, px": float(lengths[moving].mean()),
        "depth error": unexplained(depth, aligned),
        "shapes' depth in order": in_order(
            motion.depth[0, scene.key_index, 0],
            scene.depth[scene.key_index, 0],
            scene.layer[scene.key_index, 0],
        ),
        "log scale": float(found.norm(dim=1).max().clamp(min=1e-3).log()),
        "log true scale": float(lengths.max().clamp(min=1e-3).log()),
    }


def in_order(found: Tensor, true: Tensor, layers: Tensor) -> float:
    """Share of the pairs of shapes, background included, of which the nearer one is found nearer.

    Args:
        found: depth of the key frame, `(H, W)`; near is large.
        true: likewise.
        layers: the index of what is seen, `(H, W)`.
    """
    masks = [here for index in layers.unique() if (here := layers == index).sum() >= LEAST_SEEN]
    means = [(float(found[here].mean()), float(true[here].mean())) for here in masks]
    right = [(a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in combinations(means, 2)]
    return sum(right) / len(right) if right else math.nan


def unexplained(found: Tensor, true: Tensor) -> float:
    """What of the truth's deviation is left after the best scale and shift; 1 for a constant."""
    correlation = torch.corrcoef(torch.stack([found.double(), true.double()]))[0, 1].nan_to_num()
    return float((1 - correlation**2).clamp(min=0).sqrt())


def free(pipeline: MoVideoPipeline, scenes: int, samples: int, steps: int) -> float:
    """Mean resultant length of the directions in which shapes of free scenes go: 0 spreads, 1 not.

    Of each shape the mean flow of the last frame, its direction of each sample as a unit vector,
    and of these vectors the length of the mean.
    """
    lengths = []
    settings = SceneSettings(scenes, SEED, readable=0.0)
    for index in tqdm(range(scenes), desc="free scenes"):
        scene = settings.render(index)
        flow = sampled_motion(pipeline, scene, samples, index, steps).flow_v2i[:, -1]
        layers = scene.layer[scene.key_index, 0]
        for layer in range(1, int(layers.max()) + 1):
            if (here := layers == layer).sum() >= LEAST_SEEN:
                ways = flow[:, :, here].mean(-1)
                lengths.append(float((ways / ways.norm(dim=1, keepdim=True)).mean(0).norm()))
    return sum(lengths) / len(lengths)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", help="of stage 1, or model folders")
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--samples", type=int, default=16, help="of each free scene")
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    for place in options.checkpoints:
        pipeline, steps = with_stage_one(place), options.steps
        figures = readable(pipeline, options.scenes, steps)
        first = readable(pipeline, options.scenes, steps, key_index=0)
        figures["of a still's, key frame 0"] = first["of a still's"]
        spread = free(pipeline, options.scenes // 8, options.samples, steps)
        figures["free scenes: resultant length"] = spread
        print(f"{place}\n\n| figure | value |\n| --- | ---: |")
        print("\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items()) + "\n")
    print(f"{options.scenes} readable scenes, frame rates 3 to 30; {date.today()}")


if __name__ == "__main__":
    main()
