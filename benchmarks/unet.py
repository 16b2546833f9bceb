"""Times the spatio-temporal UNet beside its peers, all in one process, in turns.

Prints a Markdown table: seconds of a forward pass and of a training step
(forward and backward), as medians over rounds in which every network takes its turn, so that other
load on the machine falls on all alike.
"""

import argparse
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import (
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from torch import Tensor, nn

from benchmarks.table import Row, ratio
from benchmarks.timing import Candidate, machine, run
from movideo.models.unet import inflate_unet


@dataclass(frozen=True)
class Size:
    """What all networks have in common.

    Attributes:
        frames: F of the clip.
        side: of its latents.
        channels: of its latents, in and out.
        widths: of the levels.
        head_dim: channels a head.
        tokens: of the key frame.
        token_dim: their width.
    """

    frames: int = 17
    side: int = 32
    channels: int = 4
    widths: tuple[int, ...] = (64, 128, 256, 256)
    head_dim: int = 32
    tokens: int = 50
    token_dim: int = 256


SMALL = Size()
OURS, FLAT, UNET3D = "movideo SpatioTemporalUNet", "2-D UNet, frame by frame", "diffusers UNet3D"
SVD = "diffusers SVD UNet"
TARGETS = {
    "forward, of 2-D": (1.25, "forward", FLAT),
    "forward, of UNet3D": (0.52, "forward", UNET3D),
    "training step, of UNet3D": (0.56, "training", UNET3D),
}


def build(size: Size = SMALL, names: Collection[str] | None = None) -> dict[str, Candidate]:
    """Makes the networks, equal in widths, layers, heads, tokens and input, on torch's own device.

    Args:
        size: of all of them.
        names: which; all by default.
    """
    sample = torch.randn(1, size.frames, size.channels, size.side, size.side)
    tokens, fps = torch.randn(1, size.tokens, size.token_dim), torch.tensor([3.0])
    added = torch.zeros(1, 3)
    frames = sample.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    repeated, stacked = tokens.repeat(size.frames, 1, 1), sample.transpose(1, 2)
    common = {
        "in_channels": size.channels,
        "out_channels": size.channels,
        "block_out_channels": size.widths,
        "cross_attention_dim": size.token_dim,
    }
    # `attention_head_dim` of the 2-D UNet is the number of heads, of UNet3D it is their width.
    heads = tuple(width // size.head_dim for width in size.widths)
    flat = partial(UNet2DConditionModel, **common, attention_head_dim=heads)
    makers: dict[str, tuple[Callable[[], Any], Callable[[Any], Tensor]]] = {
        FLAT: (flat, lambda network: network(frames, 500, repeated).sample),
        OURS: (lambda: inflate_unet(flat()), lambda network: network(sample, 500, tokens, fps)),
        UNET3D: (
            partial(UNet3DConditionModel, **common, attention_head_dim=size.head_dim),
            lambda network: network(stacked, 500, tokens).sample,
        ),
        SVD: (
            partial(
                UNetSpatioTemporalConditionModel, **common, num_attention_heads=heads,
                addition_time_embed_dim=64, projection_class_embeddings_input_dim=192,
            ),
            lambda network: network(sample, 500, tokens, added).sample,
        ),
    }  # fmt: skip
    candidates = {}
    for name in makers if names is None else names:
        make, call = makers[name]
        network = channels_last(make())  # ours works so on a CPU: so do the peers
        candidates[name] = Candidate(network, partial(call, network))
    return candidates


def channels_last(network: nn.Module) -> nn.Module:
    """Lays out the weights of 2-D convolutions so, in place."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def report(candidates: dict[str, Candidate], rounds: int) -> str:
    """Writes the measurements as Markdown."""
    lines = [
        f"UNets at {SMALL.frames}x{SMALL.side}x{SMALL.side}, widths "
        f"{'-'.join(map(str, SMALL.widths))}, heads of {SMALL.head_dim} channels, "
        f"{SMALL.tokens} tokens, float32. Medians of {rounds} interleaved rounds.",
        "",
        "| network | parameters (M) | forward (GFLOP) | forward (s) | training step (s) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, candidate in candidates.items():
        lines.append(
            f"| {name} | {candidate.parameters():.1f} | {candidate.gigaflop():.0f} "
            f"| {candidate.median('forward'):.2f} | {candidate.median('training'):.2f} |"
        )
    return "\n".join([*lines, "", machine()])


def rows(rounds: int) -> list[Row]:
    """Our time over that of the peers."""
    torch.manual_seed(0)
    candidates = build()
    run(candidates, rounds)
    ours = candidates[OURS].seconds
    return [
        ratio(name, ours[what], candidates[peer].seconds[what], limit)
        for name, (limit, what, peer) in TARGETS.items()
    ]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    candidates = build()
    run(candidates, options.rounds)
    print(report(candidates, options.rounds))


if __name__ == "__main__":
    main()
