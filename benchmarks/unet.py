"""Times the spatio-temporal UNet beside its peers, all in one process, in turns.

Run by `make bench`. Prints a Markdown table: seconds of a forward pass and of a training step
(forward and backward), as medians over rounds in which every network takes its turn, so that other
load on the machine falls on all alike.
"""

import argparse

import torch
from diffusers import (
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetSpatioTemporalConditionModel,
)

from benchmarks.timing import Candidate, machine, run
from movideo.models.unet import inflate_unet

FRAMES, SIDE, CHANNELS = 17, 32, 4
TOKENS, TOKEN_DIM = 50, 256
WIDTHS = (64, 128, 256, 256)
HEAD_DIM = 32
HEADS = tuple(width // HEAD_DIM for width in WIDTHS)
OURS, FLAT, UNET3D = "movideo SpatioTemporalUNet", "2-D UNet, frame by frame", "diffusers UNet3D"
SVD = "diffusers SVD UNet"
TARGETS = {
    "forward, of 2-D": (1.25, "forward", FLAT),
    "forward, of UNet3D": (0.52, "forward", UNET3D),
    "training step, of UNet3D": (0.56, "training", UNET3D),
}


def build() -> dict[str, Candidate]:
    """Makes the networks, equal in widths, layers, heads, tokens and input."""
    sample = torch.randn(1, FRAMES, CHANNELS, SIDE, SIDE)
    tokens, fps = torch.randn(1, TOKENS, TOKEN_DIM), torch.tensor([3.0])
    common = {
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "block_out_channels": WIDTHS,
        "cross_attention_dim": TOKEN_DIM,
    }
    # `attention_head_dim` of the 2-D UNet is the number of heads, of UNet3D it is their width.
    flat = UNet2DConditionModel(**common, attention_head_dim=HEADS)
    unet3d = UNet3DConditionModel(**common, attention_head_dim=HEAD_DIM)
    svd = UNetSpatioTemporalConditionModel(
        **common, num_attention_heads=HEADS, addition_time_embed_dim=64,
        projection_class_embeddings_input_dim=192,
    )  # fmt: skip
    ours = inflate_unet(flat)
    # Ours works channels last on a CPU: so do the peers.
    for network in (flat, unet3d, svd, ours):
        for parameter in network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    frames = sample.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    repeated = tokens.repeat(FRAMES, 1, 1)
    stacked, added = sample.transpose(1, 2), torch.zeros(1, 3)
    return {
        FLAT: Candidate(flat, lambda: flat(frames, 500, repeated).sample),
        OURS: Candidate(ours, lambda: ours(sample, 500, tokens, fps)),
        UNET3D: Candidate(unet3d, lambda: unet3d(stacked, 500, tokens).sample),
        SVD: Candidate(svd, lambda: svd(sample, 500, tokens, added).sample),
    }


def report(candidates: dict[str, Candidate], rounds: int) -> str:
    """Writes the measurements as Markdown."""
    lines = [
        f"UNets at {FRAMES}x{SIDE}x{SIDE}, widths {'-'.join(map(str, WIDTHS))}, heads of "
        f"{HEAD_DIM} channels, {TOKENS} tokens, float32. Medians of {rounds} interleaved rounds.",
        "",
        "| network | parameters (M) | forward (GFLOP) | forward (s) | training step (s) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, candidate in candidates.items():
        lines.append(
            f"| {name} | {candidate.parameters():.1f} | {candidate.gigaflop():.0f} "
            f"| {candidate.median('forward'):.2f} | {candidate.median('training'):.2f} |"
        )
    lines += ["", "| ours, time of | ratio | at most | |", "| --- | --- | --- | --- |"]
    for name, (limit, what, peer) in TARGETS.items():
        ratio = candidates[OURS].median(what) / candidates[peer].median(what)
        lines.append(
            f"| {name} | {ratio:.2f} | {limit} | {'met' if ratio <= limit else 'missed'} |"
        )
    return "\n".join([*lines, "", machine()])


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
