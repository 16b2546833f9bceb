"""Longer videos: how visible the seams of windows are, and memory over length.

python -m benchmarks.windows MODEL
"""

import argparse
import subprocess
import sys
from datetime import date
from resource import RUSAGE_SELF, getrusage

import torch

from benchmarks.stage_one import SEED
from movideo.motion.windows import plan_windows
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings

LENGTHS = (33, 129)


def differences(pipeline: MoVideoPipeline, options: argparse.Namespace, frames: int) -> None:
    """Mean difference of neighbouring frames, where windows meet and elsewhere."""
    seams, others = [], []
    settings = SceneSettings(options.scenes, SEED, readable=1.0)
    key = frames // 2
    starts = [w.key_frame + (0 if w.key_index == 0 else -1) for w in plan_windows(frames, key, 17)]
    for index in range(options.scenes):
        scene = settings.render(index)
        video = pipeline.generate(
            scene.video[scene.key_index][None],
            fps=options.fps,
            num_frames=frames,
            key_index=key,
            window=17,
            hold_key_frame=options.hold_key_frame,
            generator=torch.Generator().manual_seed(index),
        ).video[0]
        steps = (video[1:] - video[:-1]).abs().mean(dim=(1, 2, 3))
        median = steps.median()
        at_seams = torch.zeros(len(steps), dtype=torch.bool)
        at_seams[starts[1:]] = True
        seams.append(steps[at_seams] / median)
        others.append(steps[~at_seams] / median)
    at, elsewhere = torch.cat(seams), torch.cat(others)
    print("| difference of neighbouring frames over the video's median | mean | median | 90% |")
    print("| --- | ---: | ---: | ---: |")
    for name, values in (("where windows meet", at), ("elsewhere", elsewhere)):
        print(
            f"| {name} | {values.mean():.2f} | {values.median():.2f} "
            f"| {torch.quantile(values, 0.9):.2f} |"
        )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--hold_key_frame", action="store_true")
    parser.add_argument("--memory_of", type=int, help="print the peak of one so long, KiB")
    options = parser.parse_args()
    pipeline = MoVideoPipeline.from_pretrained(options.model)
    if options.memory_of:
        image = torch.zeros(1, 3, 64, 64)
        pipeline.generate(image, num_frames=options.memory_of, window=17, num_inference_steps=1)
        print(getrusage(RUSAGE_SELF).ru_maxrss)
        return
    differences(pipeline, options, 65)
    command = [sys.executable, "-m", "benchmarks.windows", options.model, "--memory_of"]
    peaks = [
        float(subprocess.run([*command, str(n)], check=True, capture_output=True).stdout)
        for n in LENGTHS
    ]
    print(f"\nPeak memory of {LENGTHS[1]} frames over {LENGTHS[0]}: {peaks[1] / peaks[0]:.3f}x")
    print(f"\n{options.scenes} videos of 65 frames at {options.fps:g} fps; {date.today()}")


if __name__ == "__main__":
    main()
