"""What a still camera's noise becomes: normalised flow, by quantiles and as the paper prints it.

python -m benchmarks.still_clips

One picture again and again with a sensor's noise on it, its flow estimated by DIS.
"""

import argparse
from datetime import date

import torch
from torch import Tensor

from movideo.estimators import DISFlow, ParallaxDepth
from movideo.motion.space import MotionSpace, QuantileMotionSpace
from movideo.scenes.files import SceneSettings
from movideo.shards.labels import label_clip

SEED = 20261129
SMALL = 0.05  # of normalised flow, whose longest vector is 1


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.25, 1.0], help="deviations, of 255 greys"
    )
    parser.add_argument("--dead_zone", type=float, default=0.3, help="of DIS; 0 is without")
    options = parser.parse_args()
    print(f"| size | noise | normalised by | lengths under {SMALL} | median | 99.9% are under |")
    print("| ---: | ---: | --- | ---: | ---: | ---: |")
    for size in (64, 256):
        for noise in options.noise:
            found = measure(options.clips, size, noise, options.dead_zone)
            for name, lengths in found.items():
                share = float((lengths < SMALL).float().mean())
                some = lengths[:: max(1, len(lengths) // 10**6)]  # as many as torch takes
                median, largest = torch.quantile(some, torch.tensor([0.5, 0.999])).tolist()
                print(
                    f"| {size} | {noise:g} | {name} | {share:.1%} | {median:.3f} | {largest:.3f} |"
                )
    print(f"\n{options.clips} clips; {date.today()}")


def measure(clips: int, size: int, noise: float, dead_zone: float) -> dict[str, Tensor]:
    """Lengths of normalised flow, of all clips, by the space that normalises."""
    settings = SceneSettings(clips, SEED, size=(size, size), num_frames=1)
    spaces = {
        "quantiles with a floor": QuantileMotionSpace(floor=0.5 / size),
        "the longest vector": MotionSpace(),
    }
    lengths: dict[str, list[Tensor]] = {name: [] for name in spaces}
    for index in range(clips):
        random = torch.Generator().manual_seed(index)
        grain = torch.randn(17, 3, size, size, generator=random) * noise / 127.5
        video = (settings.render(index).video + grain).clamp(-1, 1)
        rounded = (video * 127.5).round() / 127.5
        labels = label_clip(rounded, 8, ParallaxDepth(), DISFlow(dead_zone=dead_zone))
        fields = labels.depth[None], labels.flow_i2v[None], labels.flow_v2i[None]
        for name, space in spaces.items():
            motion = space.normalize(*fields)
            both = torch.stack([motion.flow_i2v, motion.flow_v2i])
            lengths[name].append(both.norm(dim=3).flatten())
    return {name: torch.cat(found) for name, found in lengths.items()}


if __name__ == "__main__":
    main()
