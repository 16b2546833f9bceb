"""What storing flow in fewer bytes costs: number formats and grids against exact float32.

python -m benchmarks.label_storage
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import mean

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import sample_clips
from benchmarks.timing import machine
from movideo.clips.clip import ClipSettings, read_clip
from movideo.clips.index import index_clips
from movideo.estimators import DISFlow
from movideo.ops import resize_flow, visible_mask, warp
from movideo.scenes.render import render_scene

CHANNELS = 5  # depth and two flows
STEPS_A_PIXEL = 64  # of fixed point: the range is 512 pixels
GRIDS = {"full": 1, "half": 2, "quarter": 4}  # by what each side is divided


def half(flow: Tensor) -> Tensor:
    """Float16 and back."""
    return flow.half().float()


def fixed_point(flow: Tensor) -> Tensor:
    """16 bits in steps of 1 / 64 pixel, and back."""
    return (flow * STEPS_A_PIXEL).round().clamp(-(2**15), 2**15 - 1) / STEPS_A_PIXEL


def scaled_bytes(flow: Tensor) -> Tensor:
    """8 bits, the largest component of each frame at 127, and back."""
    step = flow.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6) / 127
    return (flow / step).round() * step


FORMATS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "float32": (4, lambda flow: flow),
    "float16": (2, half),
    "int16, 1/64 px": (2, fixed_point),
    "int8, scale a frame": (1, scaled_bytes),
}


@dataclass
class Sample:
    """A clip and its flows, `(F, 2, H, W)`, float32 at full resolution."""

    video: Tensor
    key_index: int
    flow_i2v: Tensor
    flow_v2i: Tensor


@dataclass
class Loss:
    """What one way of storing loses, clip by clip."""

    medians: list[float] = field(default_factory=list)
    percentiles: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    both: float = 0.0
    either: float = 0.0

    def add(self, sample: Sample, flow_i2v: Tensor, flow_v2i: Tensor) -> None:
        """Compares flows that were stored with those of the sample."""
        pairs = (flow_i2v, sample.flow_i2v), (flow_v2i, sample.flow_v2i)
        error = torch.cat([torch.linalg.vector_norm(a - b, dim=1).flatten() for a, b in pairs])
        middle, most = np.percentile(error.numpy(), [50, 99])
        self.medians.append(float(middle))
        self.percentiles.append(float(most))
        truth = visible_mask(sample.flow_i2v, sample.flow_v2i) > 0.5
        hidden, hidden_now = ~truth, visible_mask(flow_i2v, flow_v2i) < 0.5
        self.both += float((hidden & hidden_now).sum())
        self.either += float((hidden | hidden_now).sum())
        moved = torch.arange(len(sample.video)) != sample.key_index  # there, warping is exact
        warped = warp(sample.video[sample.key_index].expand_as(sample.video), flow_i2v)
        seen = truth[moved].expand(-1, 3, -1, -1)
        squares = ((warped - sample.video)[moved][seen] / 2).square()
        self.psnr.append(-10 * float(squares.mean().log10()))

    def row(self) -> str:
        """Cells of the table."""
        overlap = self.both / max(self.either, 1.0)
        return (
            f"{mean(self.medians):.4f} | {mean(self.percentiles):.3f} | {mean(self.psnr):.2f} "
            f"| {overlap:.3f}"
        )


def scenes(count: int, side: int) -> Iterator[Sample]:
    """Synthetic scenes and their exact flow."""
    for index in range(count):
        scene = render_scene((0, index), size=(side, side))
        yield Sample(scene.video, scene.key_index, scene.flow_i2v, scene.flow_v2i)


def real_clips(per_video: int, side: int) -> Iterator[Sample]:
    """Clips of three real videos and the flow that DIS estimates."""
    with tempfile.TemporaryDirectory() as folder:
        sample_clips.main(folder, folder)
        settings = ClipSettings(size=(side, side), clips_per_video=per_video)
        for clip in index_clips(folder, settings).clips:
            video, estimate = read_clip(clip), DISFlow()
            key = video[clip.key_index].expand_as(video)
            flows = estimate(video, key), estimate(key, video)
            for flow in flows:
                flow[clip.key_index] = 0
            yield Sample(video, clip.key_index, *flows)


def measure(samples: Iterable[Sample]) -> dict[tuple[str, str], Loss]:
    """The loss of every format on every grid."""
    losses = {(name, grid): Loss() for grid in GRIDS for name in FORMATS}
    for sample in samples:
        height, width = sample.video.shape[-2:]
        for (name, grid), loss in losses.items():
            small = height // GRIDS[grid], width // GRIDS[grid]
            flows = (
                resize_flow(FORMATS[name][1](resize_flow(flow, small)), (height, width))
                for flow in (sample.flow_i2v, sample.flow_v2i)
            )
            loss.add(sample, *flows)
    return losses


def report(title: str, losses: dict[tuple[str, str], Loss], side: int) -> str:
    """Writes one Markdown table."""
    lines = [
        f"{title}, 17x{side}x{side}",
        "",
        "| grid | format | MB a clip | error, median px | 99% | warped key, dB | occluded IoU |",
        "| --- " * 7 + "|",
    ]
    for (name, grid), loss in losses.items():
        size = FORMATS[name][0] * CHANNELS * 17 * (side // GRIDS[grid]) ** 2 / 1e6
        lines.append(f"| {grid} | {name} | {size:.2f} | {loss.row()} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Prints a table for scenes and one for real clips."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--clips", type=int, default=4, help="from each of the three videos")
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    exact = tqdm(scenes(options.scenes, options.side), total=options.scenes, desc="scenes")
    estimated = tqdm(real_clips(options.clips, options.side), desc="real clips")
    print(report(f"{options.scenes} exact scenes", measure(exact), options.side))
    print(report("Real clips, flow by DIS", measure(estimated), options.side))
    print(machine())


if __name__ == "__main__":
    main()
