"""Error of samples against the steps that a solver takes, beside 250 steps of DDIM.

python -m benchmarks.sampling [MODEL]

From the same noise, so that all solvers follow one path: what differs is how well they follow it.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers import SchedulerMixin
from torch import Tensor

from benchmarks.table import Row, ratio
from benchmarks.timing import machine
from movideo.motion.space import Motion
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.render import render_scene

REFERENCE_STEPS = 250
DEFAULT, DEFAULT_STEPS = "DPM-Solver++ 2M, log-SNR", 16
STEPS = (4, 6, 8, 10, 12, 16, 25, 50)


def _multistep(order: int) -> Callable[[Any], SchedulerMixin]:
    def make(config: Any) -> SchedulerMixin:
        return diffusers.DPMSolverMultistepScheduler.from_config(
            config, solver_order=order, use_lu_lambdas=False
        )

    return make


SOLVERS: dict[str, Callable[[Any], SchedulerMixin]] = {
    "DDIM": lambda config: diffusers.DDIMScheduler.from_config(config, clip_sample=False),
    "DPM-Solver++ 2M": _multistep(2),
    "DPM-Solver++ 3M": _multistep(3),
    DEFAULT: lambda config: diffusers.DPMSolverMultistepScheduler.from_config(
        config, use_lu_lambdas=True
    ),
    "UniPC 2": diffusers.UniPCMultistepScheduler.from_config,
    "DEIS 2": diffusers.DEISMultistepScheduler.from_config,
}


class Chain:
    """A model and one key frame, from which motion and video are drawn from fixed noise."""

    def __init__(self, pipeline: MoVideoPipeline, scene: int) -> None:
        self.pipeline = pipeline
        rendered = render_scene(scene)
        self.image = rendered.video[rendered.key_index]
        self.seed = scene
        self.configs = pipeline.motion_scheduler.config, pipeline.video_scheduler.config
        self.true_motion = self.motion("DDIM", REFERENCE_STEPS)
        self.true_video = self.video("DDIM", REFERENCE_STEPS)

    def motion(self, solver: str, steps: int) -> Motion:
        """Stage 1 by a solver."""
        self.pipeline.register_modules(motion_scheduler=SOLVERS[solver](self.configs[0]))
        return self.pipeline.generate_motion(
            self.image, num_inference_steps=steps, generator=self._generator()
        )

    def video(self, solver: str, steps: int) -> Tensor:
        """Stages 2 and 3 by a solver, under the motion of 250 steps."""
        self.pipeline.register_modules(video_scheduler=SOLVERS[solver](self.configs[1]))
        return self.pipeline.generate(
            self.image,
            motion=self.true_motion,
            num_inference_steps=steps,
            generator=self._generator(),
        ).video

    def errors(self, solver: str, steps: int) -> tuple[float, float]:
        """Mean end-point error of the flow in pixels, root mean square of the video."""
        flow = self.motion(solver, steps).flow_i2v - self.true_motion.flow_i2v
        video = self.video(solver, steps) - self.true_video
        return float(flow.square().sum(2).sqrt().mean()), float(video.square().mean().sqrt())

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def rows(rounds: int) -> list[Row]:
    """The default's error over that of 50 steps of DDIM; rounds are scenes."""
    pipeline = MoVideoPipeline.from_pretrained("embedded")
    pipeline.set_progress_bar_config(disable=True)
    chains = [Chain(pipeline, scene) for scene in range(rounds)]
    ours = [chain.errors(DEFAULT, DEFAULT_STEPS) for chain in chains]
    ddim = [chain.errors("DDIM", 50) for chain in chains]
    return [
        ratio(
            f"{DEFAULT_STEPS} steps of the default, error of the {name}, of 50 of DDIM",
            [errors[i] for errors in ours],
            [errors[i] for errors in ddim],
            1.0,
        )
        for i, name in enumerate(("flow", "video"))
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    options = parser.parse_args()
    pipeline = MoVideoPipeline.from_pretrained(options.model)
    pipeline.set_progress_bar_config(disable=True)
    chains = [Chain(pipeline, scene) for scene in range(options.scenes)]
    print("| solver | steps | flow, px | video, RMS x 1000 |\n| --- | --- | --- | --- |")
    for solver in options.solvers:
        for steps in STEPS:
            pairs = [chain.errors(solver, steps) for chain in chains]
            flow, video = (statistics.mean(values) for values in zip(*pairs, strict=True))
            print(f"| {solver} | {steps} | {flow:.4f} | {1000 * video:.2f} |", flush=True)
    print(f"\nMeans over {options.scenes} scenes; {REFERENCE_STEPS} steps of DDIM are the truth.")
    print(machine())


if __name__ == "__main__":
    main()
