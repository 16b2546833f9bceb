"""Stage 1 of a checkpoint or a model, as the pipeline runs it."""

import torch

from movideo.diffusion import sample_generator
from movideo.hub import EMBEDDED
from movideo.hub.model_folder import PARTS, starting_point
from movideo.motion.space import Motion
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.render import Scene

SEED = 20261128  # no training set's


def with_stage_one(place: str) -> MoVideoPipeline:
    """A pipeline whose stage 1 is that of a checkpoint or a model; the rest is not to be used."""
    saved = starting_point(place, "motion")
    parts = {
        name: saved.component(own)
        for own, name in PARTS["motion"].items()
        if own in saved.components
    }
    rest = MoVideoPipeline.from_pretrained(EMBEDDED).components
    kept = {name: rest[name] for name in rest if name not in PARTS["motion"].values()}
    return MoVideoPipeline(**kept, **parts)


def sampled_motion(
    pipeline: MoVideoPipeline,
    scene: Scene,
    samples: int,
    seed: int,
    steps: int,
    fps: float | None = None,
) -> Motion:
    """So many samples of the motion of a scene's key frame, without guidance."""
    image = scene.video[scene.key_index].expand(samples, -1, -1, -1)
    generators: list[torch.Generator] = [sample_generator(seed, str(i)) for i in range(samples)]
    return pipeline.generate_motion(
        image,
        fps=float(scene.fps if fps is None else fps),
        num_frames=len(scene.video),
        key_index=scene.key_index,
        num_inference_steps=steps,
        generator=generators,
    )
