"""Whether a picture tells its motion: stage 1 on held-out scenes, readable and free apart.

python -m benchmarks.picture_to_motion CHECKPOINT

On readable scenes one sample, without guidance, against the truth and beside no motion at all; on
free scenes how much the directions of several samples spread, for there a picture says nothing.
"""

import argparse
import math
from datetime import date

import torch
from torch import Tensor
from tqdm import tqdm

from movideo.diffusion import ClassifierFreeGuidance, Denoiser, sample_generator
from movideo.hub.model_folder import starting_point
from movideo.models import ImageEncoder
from movideo.motion.key_frame import KeyFrameCondition
from movideo.motion.space import Motion, MotionSpace
from movideo.ops import normalize_depth
from movideo.scenes.files import SceneSettings
from movideo.scenes.render import Scene

SEED = 20261128  # no training set's
MOVING = 0.5  # pixels; what a shape must have moved to have a direction


class StageOne:
    """The parts of a stage 1 checkpoint, or of a model, that generate motion."""

    def __init__(self, place: str, steps: int) -> None:
        saved = starting_point(place, "motion")
        self.unet = saved.component("unet").eval()
        self.scheduler = saved.component("noise_scheduler")
        self.encoder: ImageEncoder = saved.component("image_encoder").eval()
        self.space: MotionSpace = saved.component("motion_space")
        known = "key_frame" in saved.components
        self.key_frame: KeyFrameCondition = (
            saved.component("key_frame") if known else KeyFrameCondition()
        )
        self.steps = steps

    @torch.no_grad()
    def __call__(self, scene: Scene, samples: int, seed: int) -> Motion:
        """So many samples of the motion of a scene's key frame."""
        image = scene.video[scene.key_index].expand(samples, -1, -1, -1)
        key = torch.full((samples,), scene.key_index)
        frames, size = len(scene.video), (image.shape[-2], image.shape[-1])
        tokens = self.encoder(image[:1]).expand(samples, -1, -1)
        denoiser = Denoiser(
            self.unet,
            tokens=tokens,
            fps=torch.full((samples,), float(scene.fps)),
            key_index=key,
            condition=self.key_frame(image, tokens, key, frames, self.space.grid),
        )
        drawn = denoiser.sample(
            self.scheduler,
            (samples, frames, self.space.channels, *self.space.grid),
            guidance=ClassifierFreeGuidance(),
            num_inference_steps=self.steps,
            generator=[sample_generator(seed, str(i)) for i in range(samples)],
        )
        return self.space.decode(drawn, key, size)


def readable(stage: StageOne, scenes: int) -> dict[str, float]:
    """Means over scenes of cosine and end-point errors on moving shapes, and of the depth error."""
    found: dict[str, list[float]] = {}
    settings = SceneSettings(scenes, SEED, readable=1.0)
    for index in tqdm(range(scenes), desc="readable scenes"):
        scene = settings.render(index)
        motion = stage(scene, 1, index)
        for name, value in compare(scene, motion).items():
            if not math.isnan(value):
                found.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in found.items()}
    means["of a still's"] = means["end-point error, px"] / means["a still's, px"]
    logs = torch.tensor([found["log scale"], found["log true scale"]])
    means["scale, median of found over true"] = float((logs[0] - logs[1]).median().exp())
    return {name: value for name, value in means.items() if "log" not in name}


def compare(scene: Scene, motion: Motion) -> dict[str, float]:
    """Of one sample, over the places of the key frame where a shape moves, frame by frame."""
    found, true = motion.flow_v2i[0], scene.flow_v2i
    lengths = true.norm(dim=1)
    on_shape = (scene.layer[scene.key_index, 0] > 0)[None].expand_as(lengths)
    moving = on_shape & (lengths > MOVING)
    cosine = torch.cosine_similarity(found, true, dim=1)[moving]
    error = (found - true).norm(dim=1)[moving]
    depth = motion.depth[0].flatten()
    aligned = normalize_depth(scene.depth).flatten()
    return {
        "cosine": float(cosine.mean()),
        "end-point error, px": float(error.mean()),
        "a still's, px": float(lengths[moving].mean()),
        "depth error": unexplained(depth, aligned),
        "log scale": float(found.norm(dim=1).max().clamp(min=1e-3).log()),
        "log true scale": float(lengths.max().clamp(min=1e-3).log()),
    }


def unexplained(found: Tensor, true: Tensor) -> float:
    """What of the truth's deviation is left after the best scale and shift; 1 for a constant."""
    correlation = torch.corrcoef(torch.stack([found.double(), true.double()]))[0, 1].nan_to_num()
    return float((1 - correlation**2).clamp(min=0).sqrt())


def free(stage: StageOne, scenes: int, samples: int) -> float:
    """Mean resultant length of the directions in which shapes of free scenes go: 0 spreads, 1 not.

    Of each shape the mean flow of the last frame, its direction of each sample as a unit vector,
    and of these vectors the length of the mean.
    """
    lengths = []
    settings = SceneSettings(scenes, SEED, readable=0.0)
    for index in tqdm(range(scenes), desc="free scenes"):
        scene = settings.render(index)
        flow = stage(scene, samples, index).flow_v2i[:, -1]
        layers = scene.layer[scene.key_index, 0]
        for layer in range(1, int(layers.max()) + 1):
            if (here := layers == layer).sum() >= 30:
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
        stage = StageOne(place, options.steps)
        figures = readable(stage, options.scenes)
        figures["free scenes: resultant length"] = free(stage, options.scenes // 8, options.samples)
        print(f"{place}\n\n| figure | value |\n| --- | ---: |")
        print("\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items()) + "\n")
    print(f"{options.scenes} readable scenes, frame rates 3 to 30; {date.today()}")


if __name__ == "__main__":
    main()
