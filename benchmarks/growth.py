"""How time and memory grow with frames and with the side: nothing may grow faster than frames do.

Each is measured at 9, 17, 33 and 65 frames with a side of 32, and at sides of 32, 48 and 64 with 17
frames. A growth is that of a doubling, the worst of them: what 33 frames cost over 17, to the power
of log 2 / log(33 / 17). Memory is that of tensors.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.decoder import WIDTHS
from benchmarks.table import Row
from benchmarks.timing import Candidate, tensor_peak
from movideo import ops
from movideo.cli.allocation import keep_freed_memory
from movideo.models import FlowAugmentedDecoder, SpatioTemporalUNet, VideoAutoencoder
from movideo.pipeline import MoVideoPipeline

FRAMES, SIDES = (9, 17, 33, 65), (32, 48, 64)
FEW = 17
LIMIT = 2.1

Place = tuple[int, int]  # frames, side


class WarpAndMask(nn.Module):
    """What conditions are made of."""

    def forward(self, key: Tensor, flow_i2v: Tensor, flow_v2i: Tensor) -> Tensor:
        """The warped key frame where it is visible."""
        return ops.warp(key, flow_i2v) * ops.visible_mask(flow_i2v, flow_v2i)


class FlowScale(nn.Module):
    """Eq. 10."""

    def forward(self, depth: Tensor, flow_i2v: Tensor, flow_v2i: Tensor) -> Tensor:
        """The scale of one clip."""
        return ops.estimate_flow_scale(depth, flow_i2v, flow_v2i, depth.shape[1] // 2)


def build(frames: int, side: int) -> Mapping[str, Candidate]:
    """Networks of the embedded model's size, and operations, on one clip."""
    torch.manual_seed(0)
    unet = SpatioTemporalUNet(
        unet_2d={
            "in_channels": 5, "out_channels": 5, "block_out_channels": (32, 32, 64),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1, "attention_head_dim": (1, 1, 2), "cross_attention_dim": 64,
            "norm_num_groups": 8,
        },
        in_channels=5, out_channels=5, image_token_dim=128,
    )  # fmt: skip
    config = {
        "block_out_channels": WIDTHS, "layers_per_block": 2, "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }  # fmt: skip
    decoder = FlowAugmentedDecoder(VideoAutoencoder(None, config))
    sample, tokens = torch.randn(1, frames, 5, side, side), torch.randn(1, 17, 128)
    z = torch.randn(1, frames, 4, side // 8, side // 8)
    depth, key = torch.rand(1, frames, 1, side, side), torch.rand(1, 1, 3, side, side)
    flows = 4 * torch.randn(2, 1, frames, 2, side, side)
    normal = flows / flows.abs().max()
    warp_and_mask, scale = WarpAndMask(), FlowScale()
    pipeline = MoVideoPipeline.from_pretrained("embedded")
    pipeline.set_progress_bar_config(disable=True)
    parts = nn.ModuleList(p for p in pipeline.components.values() if isinstance(p, nn.Module))
    return {
        "generation": Candidate(
            parts,
            lambda: pipeline.generate(key[0, 0], num_frames=frames, num_inference_steps=2).video,
        ),
        "UNet": Candidate(unet, lambda: unet(sample, 500, tokens, torch.tensor([3.0]))),
        "decoder": Candidate(decoder, lambda: decoder(z, flows[0])),
        "warp and mask": Candidate(
            warp_and_mask, lambda: warp_and_mask(key.expand(-1, frames, -1, -1, -1), *flows)
        ),
        "flow scale": Candidate(scale, lambda: scale(depth, *normal)),
    }


MEASURED = {
    "generation": ("forward",),
    "UNet": ("forward", "training"),
    "decoder": ("forward", "training"),
    "warp and mask": ("forward",),
    "flow scale": ("forward",),
}


def rows(rounds: int) -> Iterator[Row]:
    """Growth with frames, then with the side."""
    keep_freed_memory()  # as every command does
    by_frames = {(frames, SIDES[0]): build(frames, SIDES[0]) for frames in FRAMES}
    by_side = {(FEW, side): build(FEW, side) for side in SIDES}
    for what, places, limit in (("frames", by_frames, LIMIT), ("side", by_side, None)):
        for name, kinds in MEASURED.items():
            for kind in kinds:
                candidates = {place: of[name] for place, of in places.items()}
                memory = {place: _memory(one, kind) for place, one in candidates.items()}
                time = _time(candidates, kind, rounds)
                yield Row(f"{name}, {kind}: time, {what} doubled", (_growth(time),), limit=limit)
                yield Row(
                    f"{name}, {kind}: memory, {what} doubled", (_growth(memory),), limit=limit
                )


def _memory(candidate: Candidate, kind: str) -> float:
    """Bytes of tensors at most, beside the weights."""
    weights = sum(p.numel() * p.element_size() for p in candidate.network.parameters())
    return tensor_peak(candidate.network, getattr(candidate, kind)) - weights


def _time(candidates: Mapping[Place, Candidate], kind: str, rounds: int) -> dict[Place, float]:
    """Median seconds, in turns, after one call each to warm up."""
    for candidate in candidates.values():
        getattr(candidate, kind)()
    for _ in range(2 * rounds + 1):
        for candidate in candidates.values():
            candidate.measure(kind)
    return {place: candidate.median(kind) for place, candidate in candidates.items()}


def _growth(costs: Mapping[Place, float]) -> float:
    """By how much a cost grows where frames, or the side, are doubled; the worst of the steps."""
    steps = ((math.prod(b) / math.prod(a), costs[b] / costs[a]) for a, b in pairwise(costs))
    return max(float(cost ** (1 / math.log2(factor))) for factor, cost in steps)
