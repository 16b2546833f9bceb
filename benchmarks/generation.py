"""One whole generation of the embedded model: what its networks take of it, and what guidance adds.

python -m benchmarks.generation [MODEL]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from benchmarks.table import Row, markdown, ratio
from benchmarks.timing import machine
from movideo.diffusion import ClassifierFreeGuidance
from movideo.motion.space import MotionSpace
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.render import render_scene

STEPS = 16  # of either diffusion, whatever the model takes by itself
GUIDED = ClassifierFreeGuidance(2.0)
UNETS = ("motion_unet", "video_unet")


@contextmanager
def clocked(networks: Mapping[str, nn.Module]) -> Iterator[dict[str, float]]:
    """Seconds that are spent within each network's calls."""
    spent = dict.fromkeys(networks, 0.0)
    hooks = []
    for name, network in networks.items():

        def start(*_: Any, name: str = name) -> None:
            spent[name] -= time.perf_counter()

        def end(*_: Any, name: str = name) -> None:
            spent[name] += time.perf_counter()

        hooks += [network.register_forward_pre_hook(start), network.register_forward_hook(end)]
    yield spent
    for hook in hooks:
        hook.remove()


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def decode_motion(space: MotionSpace) -> None:
    """Makes motion of a sample as stage 1 gives it, its scale by Eq. 10 included."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 17, 5, *space.grid, generator=generator)
    space.decode(sample, torch.tensor([8]), (64, 64))


def rows(rounds: int, model: str = "embedded") -> list[Row]:
    """Of one generation of 17x64x64."""
    pipeline = MoVideoPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    scene = render_scene(0)
    image = scene.video[scene.key_index]
    parts = pipeline.components
    networks = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
    whole: list[float] = []
    inside: list[float] = []
    unets: list[float] = []
    guided: list[float] = []
    scale: list[float] = []
    for guidance in (None, GUIDED):
        pipeline.generate(image, num_inference_steps=2, guidance=guidance)  # warm up
    for _ in range(rounds):
        with clocked(networks) as spent:
            whole.append(seconds(lambda: pipeline.generate(image, num_inference_steps=STEPS)))
        inside.append(sum(spent.values()))
        unets.append(sum(spent[name] for name in UNETS))
        with clocked(networks) as spent:
            pipeline.generate(image, num_inference_steps=STEPS, guidance=GUIDED)
        guided.append(sum(spent[name] for name in UNETS))
        scale.append(seconds(lambda: decode_motion(pipeline.motion_space)))
    return [
        ratio("a whole generation, of its networks' calls", whole, inside),
        ratio("steps with guidance, of steps without", guided, unets, 1.9),
        ratio("flow scale, of a whole generation", scale, whole),
        Row("a whole generation", tuple(whole), "s"),
    ]


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(markdown({"generation": rows(options.rounds, options.model)}, machine()))


if __name__ == "__main__":
    main()
