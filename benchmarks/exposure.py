"""What training on wrong motion gains where motion is generated: two stages 2, paired.

python -m benchmarks.exposure STAGE_1 EXACT NOISED

Both make latent videos under the same samples of stage 1, decoded frame by frame with what comes
along; both are checkpoints trained over the embedded autoencoder. Their videos are measured against
the true ones.
"""

import argparse
from dataclasses import replace
from datetime import date

import torch
from tqdm import tqdm

from benchmarks.stage_one import SEED, sampled_motion, with_stage_one
from movideo.hub import EMBEDDED
from movideo.hub.model_folder import PARTS, starting_point
from movideo.metrics import RandomFeatureDistance, masked_psnr
from movideo.metrics.bootstrap import percentile_interval, resample
from movideo.motion.space import Motion
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings
from movideo.scenes.render import Scene


def with_stage_two(place: str) -> MoVideoPipeline:
    """The embedded model with the stage 2 of a checkpoint."""
    saved = starting_point(place, "video")
    named = PARTS["video"]
    own = [name for name in named if name in saved.components and name != "autoencoder"]
    pipeline = MoVideoPipeline.from_pretrained(EMBEDDED)
    parts = {named[name]: saved.component(name) for name in own}
    return MoVideoPipeline.from_pipe(pipeline, **parts)


@torch.no_grad()
def measure(
    pipeline: MoVideoPipeline, scene: Scene, motion: Motion, distance: RandomFeatureDistance
) -> tuple[float, float]:
    """PSNR and perceptual distance of the video under that motion."""
    level = torch.tensor([pipeline.motion_noise.generated])
    video = pipeline.generate(
        scene.video[scene.key_index][None],
        fps=float(scene.fps),
        num_frames=len(scene.video),
        key_index=scene.key_index,
        motion=replace(motion, level=level),
        generator=torch.Generator().manual_seed(0),
    ).video
    truth = scene.video[None]
    return float(masked_psnr(video, truth)), float(distance.distance.distances(video, truth))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage_1", help="a checkpoint, or a model folder")
    parser.add_argument("exact", help="a checkpoint of stage 2 that was trained on exact motion")
    parser.add_argument("noised", help="one of as many steps that was trained on wrong motion too")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--steps", type=int, default=16, help="of stage 1")
    options = parser.parse_args()
    motion_of, distance = with_stage_one(options.stage_1), RandomFeatureDistance()
    pair = [with_stage_two(place) for place in (options.exact, options.noised)]
    settings = SceneSettings(options.clips, SEED, readable=1.0)
    values = []
    for index in tqdm(range(options.clips), desc="scenes"):
        scene = settings.render(index)
        motion = sampled_motion(motion_of, scene, 1, index, options.steps)
        values.append([measure(pipeline, scene, motion, distance) for pipeline in pair])
    table = torch.tensor(values)  # clips, stages, metrics
    print("| under generated motion | exact motion alone | wrong motion too | paired difference |")
    print("| --- | ---: | ---: | ---: |")
    for column, name in enumerate(("PSNR, dB", "random-feature distance")):
        exact, noised = table[:, 0, column], table[:, 1, column]
        gain = noised - exact
        low, high = percentile_interval(
            lambda g, gain=gain: gain[resample(len(gain), g)].mean(), 0.95, 2000, seed=0
        )
        print(
            f"| {name} | {exact.mean():.3f} | {noised.mean():.3f} "
            f"| {gain.mean():+.3f} ({low:+.3f} to {high:+.3f}) |"
        )
    print(f"\n{options.clips} readable scenes, frame rates 3 to 30; {date.today()}")


if __name__ == "__main__":
    main()
