"""Time of one generation, and the share of it that finding the flow's scale takes (Eq. 10).

python -m benchmarks.generation MODEL
"""

import argparse
import time

import torch

from movideo.motion.space import MotionSpace
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.render import render_scene


def main() -> None:
    """Prints two times and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a folder written by movideo export")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    pipeline = MoVideoPipeline.from_pretrained(options.model)
    scene = render_scene(0)
    pipeline.generate(scene.video[scene.key_index], num_inference_steps=1)  # warm up
    start = time.perf_counter()
    pipeline.generate(scene.video[scene.key_index], num_inference_steps=options.steps)
    generation = time.perf_counter() - start
    start = time.perf_counter()
    _decode_motion(pipeline.motion_space)
    scale = time.perf_counter() - start
    print(
        f"one generation, {options.steps} steps a stage: {generation:.1f} s; "
        f"flow scale: {scale:.2f} s, {scale / generation:.1%}"
    )


def _decode_motion(space: MotionSpace) -> None:
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 17, 5, *space.grid, generator=generator)
    space.decode(sample, torch.tensor([8]), (64, 64))


if __name__ == "__main__":
    main()
