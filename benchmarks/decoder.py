"""Times the flow-augmented decoder beside its peers, all in one process, in turns.

Prints a Markdown table: seconds of a forward pass and of a training step
(forward and backward), as medians over rounds, operations, and the memory that each needs.
"""

import argparse

import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder

from benchmarks.table import Row, ratio
from benchmarks.timing import Candidate, machine, peak_memory, run
from movideo.models import FlowAugmentedDecoder, TemporalDecoder, VideoAutoencoder

FRAMES, SIDE, CHANNELS = 17, 8, 4
WIDTHS = (32, 64, 128, 128)
LAYERS = 2
LEVELS = len(WIDTHS)
FLAT, SVD = "AutoencoderKL, frame by frame", "AutoencoderKLTemporalDecoder"
TEMPORAL, OURS = "movideo TemporalDecoder", "movideo FlowAugmentedDecoder"
AIM = 2.5


def build() -> dict[str, Candidate]:
    """Makes the decoders, equal in widths, layers and input."""
    torch.manual_seed(0)
    common = {"block_out_channels": WIDTHS, "layers_per_block": LAYERS, "latent_channels": CHANNELS}
    config = {
        **common,
        "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
        "up_block_types": ("UpDecoderBlock2D",) * LEVELS,
    }
    flat = AutoencoderKL(**config)
    svd = AutoencoderKLTemporalDecoder(**common, down_block_types=config["down_block_types"])
    source = VideoAutoencoder(None, config)
    temporal, ours = TemporalDecoder(source), FlowAugmentedDecoder(source)
    z = torch.randn(1, FRAMES, CHANNELS, SIDE, SIDE)
    side = SIDE * source.downscale_factor
    flow, frames = 4 * torch.randn(1, FRAMES, 2, side, side), z.flatten(0, 1)
    return {
        FLAT: Candidate(flat.decoder, lambda: flat.decode(frames).sample),
        TEMPORAL: Candidate(temporal, lambda: temporal(z)),
        OURS: Candidate(ours, lambda: ours(z, flow)),
        SVD: Candidate(svd.decoder, lambda: svd.decode(frames, num_frames=FRAMES).sample),
    }


def report(candidates: dict[str, Candidate], rounds: int) -> str:
    """Writes the measurements as Markdown."""
    lines = [
        f"Decoders, {FRAMES} frames of latents {SIDE}x{SIDE}, widths "
        f"{'-'.join(map(str, WIDTHS))}, {LAYERS} layers a block, float32. Medians of {rounds} "
        "interleaved rounds; memory beyond weights and inputs.",
        "",
        "| decoder | parameters (M) | forward (GFLOP) | forward (s) | (MB) "
        "| training step (s) | (MB) | forward, of 2-D | training step, of 2-D |",
        "| --- " * 9 + "|",
    ]
    flat = candidates[FLAT]
    for name, candidate in candidates.items():
        cells = [f"{candidate.parameters():.1f}", f"{candidate.gigaflop():.0f}"]
        for what in ("forward", "training"):
            cells += [f"{candidate.median(what):.2f}", f"{peak_memory(build, name, what):.0f}"]
        cells += [f"{candidate.median(w) / flat.median(w):.2f}" for w in ("forward", "training")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", machine()])


def rows(rounds: int) -> list[Row]:
    """Our time over that of the 2-D decoder."""
    candidates = build()
    run(candidates, 3 * rounds)  # a pass takes a fraction of a second
    ours, flat = candidates[OURS].seconds, candidates[FLAT].seconds
    return [
        ratio("forward, of 2-D", ours["forward"], flat["forward"], AIM),
        ratio("training step, of 2-D", ours["training"], flat["training"]),
    ]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    candidates = build()
    run(candidates, options.rounds)
    print(report(candidates, options.rounds))


if __name__ == "__main__":
    main()
