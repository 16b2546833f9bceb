"""GPU memory of one training step at the paper's scale, computed without a GPU and without weights.

    python -m benchmarks.memory

The step runs on fake tensors, which have shapes but no contents, while torch's own `MemTracker`
adds up what is alive: parameters, gradients, optimiser state and activations under bf16 autocast.
What it cannot see is added by hand: the frozen networks, the weight average and DDP's gradient
buckets. Not in it: the CUDA context, the allocator's fragments, workspaces of cuDNN (together some
GB), and that CUDA's kernels keep other things than the CPU's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from movideo.cli.configs import find_config
from movideo.cli.doctor import doctor_parser, without_weights
from movideo.models import SpatioTemporalUNet

FLOAT32 = 4  # bytes
GIB = 2**30
FRAMES, LATENT, TOKENS = 17, (32, 32), 257
# Of the trained weights, beside themselves and their gradients: two moments of AdamW, the weight
# average, DDP's buckets of gradients.
COPIES = 4


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        stage: whose network.
        batch: clips a process.
        checkpointing: whether layers are recomputed.
        fixed: GiB of weights, gradients, optimiser, average, buckets and frozen networks.
        peak: GiB, activations included.
    """

    stage: str
    batch: int
    checkpointing: bool
    fixed: float
    peak: float


def unet_row(stage: str, batch: int, checkpointing: bool) -> Row:
    """One step of a diffusion stage's UNet on encoded clips."""
    model, frozen = _parts(stage)
    arguments = {k: v for k, v in model["unet"]["init_args"].items() if k not in _PLACE}
    with FakeTensorMode():
        unet = SpatioTemporalUNet(**arguments | {"gradient_checkpointing": checkpointing}).train()
        sample = torch.randn(batch, FRAMES, unet.config.in_channels, *LATENT)
        tokens = torch.randn(batch, TOKENS, unet.config.image_token_dim)
        fps, time = torch.ones(batch), torch.ones(batch, dtype=torch.long)
        peak = _peak(unet, lambda: unet(sample, time, tokens, fps))
        trained = sum(p.numel() for p in unet.parameters())
    # What the tracker does not see lies beside its peak all the time.
    unseen = FLOAT32 * (COPIES * trained + frozen)
    fixed = unseen + 2 * FLOAT32 * trained
    return Row(stage, batch, checkpointing, fixed / GIB, (unseen + peak) / GIB)


_PLACE = ("pretrained", "subfolder", "revision")


def _parts(stage: str) -> tuple[dict[str, Any], int]:
    """The stage's arguments, and how many parameters its frozen networks have."""
    parser = doctor_parser()
    options = parser.parse_args(["--config", find_config(f"paper/{stage}.yaml")])
    module = without_weights(parser, options)
    frozen = sum(p.numel() for p in module.parameters() if not p.requires_grad)
    return options.as_dict()["model"]["init_args"], frozen


def _peak(module: nn.Module, call: Callable[[], Tensor]) -> int:
    """Bytes alive at most in a forward and backward pass: weights, activations, gradients."""
    tracker = MemTracker()
    tracker.track_external(module)
    with tracker:
        with torch.autocast("cpu", torch.bfloat16):
            loss = call().float().square().mean()
        loss.backward()
    peaks: dict[Any, dict[str, int]] = tracker.get_tracker_snapshot("peak")
    return sum(device["Total"] for device in peaks.values())


def rows(batches: list[int]) -> Iterator[Row]:
    """The diffusion stages, with and without gradient checkpointing."""
    for stage in ("stage1", "stage2"):
        for checkpointing in (True, False):
            for batch in batches:
                yield unet_row(stage, batch, checkpointing)


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    print("| stage | clips | gradient checkpointing | fixed, GiB | peak, GiB (computed) |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for row in rows(parser.parse_args().batches):
        checkpointing = "yes" if row.checkpointing else "no"
        print(
            f"| {row.stage} | {row.batch} | {checkpointing} | {row.fixed:.1f} | {row.peak:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
