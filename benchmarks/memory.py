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
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.timing import tensor_peak
from movideo.cli.configs import find_config
from movideo.cli.doctor import doctor_parser, without_weights
from movideo.models import SpatioTemporalUNet

# `movideo.ops.deform_conv` is the function.
deform_conv = import_module("movideo.ops.deform_conv")

FLOAT32 = 4  # bytes
GIB = 2**30
FRAMES, SIZE, LATENT, TOKENS = 17, (256, 256), (32, 32), 257
# Of the trained weights, beside themselves and their gradients: two moments of AdamW, the weight
# average, DDP's buckets of gradients.
COPIES = 4


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        stage: whose network.
        batch: clips that a process takes at once.
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
    model, whole = _built(stage)
    arguments = {k: v for k, v in model["unet"]["init_args"].items() if k not in _PLACE}
    with FakeTensorMode():
        unet = SpatioTemporalUNet(**arguments | {"gradient_checkpointing": checkpointing}).train()
        sample = torch.randn(batch, FRAMES, unet.config.in_channels, *LATENT)
        tokens = torch.randn(batch, TOKENS, unet.config.image_token_dim)
        fps, time = torch.ones(batch), torch.ones(batch, dtype=torch.long)
        peak = _peak(unet, lambda: unet(sample, time, tokens, fps).float().square().mean())
    trained, frozen = _counts(whole)
    # What the tracker does not see lies beside its peak all the time.
    unseen = FLOAT32 * (COPIES * trained + frozen)
    fixed = unseen + 2 * FLOAT32 * trained
    return Row(stage, batch, checkpointing, fixed / GIB, (unseen + peak) / GIB)


def decoder_row(batch: int) -> Row:
    """The decoder's pass of stage 3 over so many clips at once, with every term of its loss."""
    _, stage = _built("stage3")
    trained, frozen = _counts(stage)
    fixed = FLOAT32 * ((COPIES + 2) * trained + frozen)
    discriminators = _counts(stage.adversarial)[0]
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        # Off a GPU a way round torchvision's kernel is taken, which needs several times as much.
        patch.object(deform_conv, "_warped_taps", deform_conv._torchvision),
    ):
        stage.to_empty(device="cpu").train()
        for name, part in stage.named_children():
            if name != "decoder":
                _make_buffers(part)
        video = torch.randn(batch, FRAMES, 3, *SIZE)
        flow, key = torch.randn(batch, FRAMES, 2, *SIZE), torch.full((batch,), FRAMES // 2)
        clips = {"video": video, "flow_i2v": flow, "key_index": key}
        ratios = dict.fromkeys(stage.adversarial, torch.ones(()))
        peak = _peak(stage, lambda: stage.total(stage.terms(clips, ratios), ratios))
    unseen = FLOAT32 * (COPIES * trained + discriminators)  # these keep a gradient too
    return Row("stage3", batch, False, fixed / GIB, (unseen + peak) / GIB)


_PLACE = ("pretrained", "subfolder", "revision")


def _built(stage: str) -> tuple[dict[str, Any], Any]:
    """The stage's arguments, and the stage itself without contents."""
    parser = doctor_parser()
    options = parser.parse_args(["--config", find_config(f"paper/{stage}.yaml")])
    return options.as_dict()["model"]["init_args"], without_weights(parser, options)


def _counts(module: nn.Module) -> tuple[int, int]:
    """Parameters that are trained, and that are frozen."""
    counts = [0, 0]
    for parameter in module.parameters():
        counts[not parameter.requires_grad] += parameter.numel()
    return counts[0], counts[1]


def _make_buffers(module: nn.Module) -> None:
    """Makes its parameters buffers: the tracker wants to hear of every parameter's gradient."""
    for layer in module.modules():
        for name, parameter in list(layer.named_parameters(recurse=False)):
            delattr(layer, name)
            layer.register_buffer(name, parameter.detach())


def _peak(module: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Bytes alive at most in a forward and backward pass: weights, activations, gradients."""

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            value = loss()
        value.backward()

    return tensor_peak(module, step)


def rows(batches: list[int]) -> Iterator[Row]:
    """The diffusion stages with and without gradient checkpointing, then stage 3."""
    for stage in ("stage1", "stage2"):
        for checkpointing in (True, False):
            for batch in batches:
                yield unet_row(stage, batch, checkpointing)
    for batch in (1, 2):
        yield decoder_row(batch)


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
