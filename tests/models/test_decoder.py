"""The three decoders: equal at the start, and what each may look at once it has learnt."""

import math
import os
import subprocess
import sys

import pytest
import torch
from diffusers import AutoencoderKL

from movideo.errors import UserError
from movideo.hub.checkpoint import build, describe
from movideo.models import (
    FlowAugmentedDecoder,
    FrameDecoder,
    TemporalDecoder,
    VideoAutoencoder,
    VideoDecoder,
)
from movideo.models.alignment import FlowAlignment

CONFIG = {
    "block_out_channels": (8, 8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
    "scaling_factor": 0.7,
    "shift_factor": 0.2,
}
# As Stable Diffusion's: attention in the middle, two layers a block, quantisation convolutions.
STABLE_DIFFUSION = {**CONFIG, "layers_per_block": 2, "mid_block_add_attention": True}
WITHOUT_QUANT = {**CONFIG, "use_quant_conv": False, "use_post_quant_conv": False}
WITH_ATTENTION = {**CONFIG, "up_block_types": ("AttnUpDecoderBlock2D",) * 3}
DECODERS = (FrameDecoder, TemporalDecoder, FlowAugmentedDecoder)
FACTOR = 4


def autoencoder(config=CONFIG):
    torch.manual_seed(0)
    return VideoAutoencoder(None, config).eval()


def clips(batch=2, frames=3, size=(8, 8)):
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(batch, frames, 4, *size, generator=generator)
    full = (FACTOR * size[0], FACTOR * size[1])
    return z, 3 * torch.randn(batch, frames, 2, *full, generator=generator)


def trained(kind, config=CONFIG):
    """A decoder whose every weight has moved."""
    decoder = kind(autoencoder(config)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return decoder


@pytest.mark.parametrize("config", [CONFIG, STABLE_DIFFUSION, WITHOUT_QUANT, WITH_ATTENTION])
@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_at_the_start_it_is_the_autoencoders_own(kind, config):
    source = autoencoder(config)
    decoder = kind(source)
    assert isinstance(decoder, VideoDecoder)
    z, flow = clips()
    video = decoder(z, flow)
    assert video.shape == (2, 3, 3, 32, 32)
    plain: AutoencoderKL = source.model
    frames = (z / 0.7 + 0.2).flatten(0, 1)
    # the same operations in the same order, only in batches of another size
    assert (video.flatten(0, 1) - plain.decode(frames).sample).abs().max() < 1e-5


def test_its_weights_are_copies():
    source = autoencoder()
    decoder = FrameDecoder(source)
    with torch.no_grad():
        decoder.last_layer.add_(1)
    assert decoder.last_layer is decoder.spatial.conv_out.weight
    difference = decoder.last_layer - source.model.decoder.conv_out.weight
    torch.testing.assert_close(difference, torch.ones_like(difference))


@torch.no_grad()
def changed_frames(kind, frame, frames=3, key=1):
    """Which decoded frames change when one latent does."""
    decoder = trained(kind)
    z, flow = clips(batch=1, frames=frames)
    other = z.clone()
    other[:, frame] += 1
    difference = decoder(z, flow, key) - decoder(other, flow, key)
    return difference.abs().amax(dim=(0, 2, 3, 4)) > 0


def test_the_2d_decoder_sees_one_frame():
    assert changed_frames(FrameDecoder, 2).tolist() == [False, False, True]


def test_the_3d_decoder_sees_neighbours():
    assert changed_frames(TemporalDecoder, 2).all()


def test_the_flow_augmented_decoder_sees_the_key_frame_along_the_flow():
    decoder = trained(FlowAugmentedDecoder)
    with torch.no_grad():
        for layer in decoder.temporal_convolutions:
            for parameter in layer.parameters():
                parameter.zero_()
        z, flow = clips(batch=1, frames=4)
        other = z.clone()
        other[:, 1] += 1
        # temporal convolutions silent, what frames share is the key frame
        found = {
            key: (decoder(z, flow, key) - decoder(other, flow, key)).abs().amax(dim=(0, 2, 3, 4))
            for key in (1, 3)
        }
        assert (found[1] > 0).all()
        assert (found[3] > 0).tolist() == [False, True, False, False]
        moved = decoder(z, flow + 2, 1) - decoder(z, flow, 1)
        assert moved.abs().max() > 1e-3


def smooth(generator, channels, size):
    coarse = torch.randn(1, channels, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")


@pytest.mark.parametrize("shift", [(8.0, 0.0), (0.0, 8.0)], ids=["along x", "along y"])
@torch.no_grad()
def test_a_feature_moved_by_the_flow_is_aligned_at_every_level(shift):
    decoder = FlowAugmentedDecoder(autoencoder()).eval()
    seen = []
    for block in decoder.alignments:
        block.register_forward_pre_hook(lambda block, inputs: seen.append((block, *inputs)))
    z, _ = clips(batch=1, size=(16, 16))
    flow = torch.tensor(shift).view(1, 1, 2, 1, 1).expand(1, 3, 2, 64, 64)
    decoder(z, flow)
    assert len(seen) == 3
    generator = torch.Generator().manual_seed(2)
    for level, (block, x, _, level_flow) in enumerate(seen):
        channels, side = x.shape[2], x.shape[-1]
        assert side == 16 * 2**level
        key = smooth(generator, channels, (side, side))
        dx, dy = (round(s) * side // 64 for s in shift)
        moved = key.roll((-dy, -dx), dims=(-2, -1))  # moved(p) = key(p + flow(p))
        inside = (..., slice(1, side - 9), slice(1, side - 9))
        aligned = block.align(moved[:, None].expand_as(x), key, level_flow)
        error = (aligned - moved[:, None])[inside].abs().max()
        swapped = block.align(moved[:, None].expand_as(x), key, level_flow.flip(2))
        wrong = (swapped - moved[:, None])[inside].abs().max()
        assert error < 1e-5  # whole pixels, copied
        assert wrong > 0.1


@torch.no_grad()
def test_clips_of_a_batch_have_their_own_key_frames():
    decoder = trained(FlowAugmentedDecoder)
    z, flow = clips(batch=2, frames=3)
    together = decoder(z, flow, torch.tensor([0, 2]))
    apart = [decoder(z[i : i + 1], flow[i : i + 1], key) for i, key in enumerate((0, 2))]
    # convolutions over batches of another size
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-5)
    assert (together - decoder(z, flow)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_a_clip_of_one_frame(kind):
    decoder = trained(kind)
    z, flow = clips(frames=1)
    assert decoder(z, flow * 0).isfinite().all()


def test_flow_is_needed_where_it_is_used():
    decoder = FlowAugmentedDecoder(autoencoder())
    with pytest.raises(ValueError, match="flow_i2v"):
        decoder(clips()[0])


def test_every_weight_gets_a_gradient_once_it_has_moved():
    decoder = trained(FlowAugmentedDecoder)
    z, flow = clips(batch=1)
    decoder(z, flow).square().mean().backward()
    silent = [name for name, p in decoder.named_parameters() if not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_saved_and_loaded_it_decodes_the_same(kind, tmp_path):
    decoder = trained(kind)
    decoder.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    loaded = kind.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    z, flow = clips()
    assert torch.equal(loaded(z, flow), decoder(z, flow))


@torch.no_grad()
def test_it_runs_under_autocast():
    decoder = trained(FlowAugmentedDecoder)
    z, flow = clips(batch=1)
    expected = decoder(z, flow)
    with torch.autocast("cpu", torch.bfloat16):
        found = decoder(z, flow)
    # bfloat16 has three digits
    assert (found - expected).abs().mean() < 0.05 * expected.abs().mean()


# -------------------------------------------------------------------------------------- in chunks

# Two residual blocks in the middle, two a level: six, each followed by 2 frames either way.
SHALLOW = {
    **CONFIG,
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
REACH = 12
LONG = 2 * REACH + 7


def long_clips(batch=1, frames=LONG):
    z, _ = clips(batch, frames, (4, 4))
    return z, 2 * torch.randn(batch, frames, 2, 8, 8, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_the_3d_decoder_sees_as_far_as_chunks_overlap():
    decoder = trained(TemporalDecoder, SHALLOW)
    z, _ = long_clips()
    other = z.clone()
    other[:, 0] += 10
    change = (decoder(z) - decoder(other)).abs().amax(dim=(0, 2, 3, 4)) > 0
    assert change.tolist() == [True] * (REACH + 1) + [False] * (LONG - REACH - 1)


@pytest.mark.parametrize("config", [SHALLOW, {**SHALLOW, "mid_block_add_attention": True}])
@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_chunks_are_the_whole(kind, config):
    decoder = trained(kind, config)
    z, flow = long_clips()
    # the key frame in the first chunk, in one of the middle, the last of all; all in one chunk
    for key, chunk in ((0, 8), (LONG // 2, 5), (LONG - 1, 10), (3, LONG + 5)):
        parts = list(decoder.in_chunks(z, flow, key, chunk))
        assert all(part.shape[1] == chunk for part in parts[:-1])
        # convolutions over batches of another size; videos are about 1
        torch.testing.assert_close(
            torch.cat(parts, dim=1), decoder(z, flow, key), rtol=0, atol=1e-5
        )


@torch.no_grad()
def test_a_chunk_of_one_frame():
    decoder = trained(FlowAugmentedDecoder, SHALLOW)
    z, flow = long_clips(frames=4)
    parts = torch.cat(list(decoder.in_chunks(z, flow, 1, 1)), dim=1)
    torch.testing.assert_close(parts, decoder(z, flow, 1), rtol=0, atol=1e-5)


@torch.no_grad()
def test_chunks_of_clips_with_their_own_key_frames():
    decoder = trained(FlowAugmentedDecoder, SHALLOW)
    z, flow = long_clips(batch=2)
    key = torch.tensor([3, LONG - 1])
    parts = torch.cat(list(decoder.in_chunks(z, flow, key, 9)), dim=1)
    torch.testing.assert_close(parts, decoder(z, flow, key), rtol=0, atol=1e-5)
    assert (parts[1] - decoder(z, flow, 3)[1]).abs().max() > 1e-3  # as it may fail


def test_a_chunk_holds_a_frame():
    z, flow = long_clips()
    with pytest.raises(ValueError, match="chunk 0"):
        next(FrameDecoder(autoencoder(SHALLOW)).in_chunks(z, flow, chunk=0))


@torch.no_grad()
def largest(decoder, frames, chunk):
    """The most values that a layer ever gives."""
    sizes = [0]
    hooks = [
        module.register_forward_hook(lambda *seen: sizes.append(seen[-1].numel()))
        for module in decoder.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    z, flow = long_clips(frames=frames)
    for _ in decoder.in_chunks(z, flow, 1, chunk):
        pass
    for hook in hooks:
        hook.remove()
    return max(sizes)


@pytest.mark.parametrize("kind", DECODERS)
def test_what_layers_give_does_not_grow_with_the_clip(kind):
    decoder = trained(kind, SHALLOW)
    chunk = 4
    assert largest(decoder, LONG + 5, chunk) == largest(decoder, 2 * LONG, chunk)
    assert largest(decoder, LONG, LONG) > largest(decoder, LONG, chunk)


PEAK = """
import sys, resource, torch
from movideo.models import FlowAugmentedDecoder, VideoAutoencoder
from tests.models.test_decoder import SHALLOW

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize()

torch.set_num_threads(1)
frames = int(sys.argv[1])
config = {**SHALLOW, "block_out_channels": (32, 64), "norm_num_groups": 8}
decoder = FlowAugmentedDecoder(VideoAutoencoder(None, config)).eval()
z, flow, video = (torch.full((1, frames, *size), 0.1) for size in
                  ((4, 24, 24), (2, 48, 48), (3, 48, 48)))
before, done = resident(), 0
with torch.no_grad():
    for part in decoder.in_chunks(z, flow, frames // 2, 16):
        video[:, done : done + part.shape[1]] = part
        done += part.shape[1]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


@pytest.mark.slow
def test_peak_memory_is_flat():
    def peak(frames):
        run = [sys.executable, "-c", PEAK, str(frames)]
        # What is freed goes back to the system at once, so that resident is what is in use.
        env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        done = subprocess.run(run, check=True, capture_output=True, text=True, env=env)
        return int(done.stdout)

    short, long = peak(129), peak(513)
    assert short > 50e6  # what decoding takes, not noise
    assert long < 1.15 * short


def test_a_tap_leaves_the_flow_by_no_more_than_the_bound():
    """Of a ramp along x, each pixel of the aligned feature says how far right it was sampled."""
    key = torch.arange(24.0).expand(1, 4, 24, 24)
    flow = torch.ones(1, 2, 2, 24, 24) * torch.tensor([2.0, 0.0])[:, None, None]
    frames = torch.zeros(1, 2, 4, 24, 24)
    cases = ((1.0, 3.0, 3 * math.tanh(1 / 3)), (1e4, 3.0, 3.0), (5.0, None, 5.0))
    for wanted, bound, found in cases:
        alignment = FlowAlignment(4, groups=2, max_residual=bound)
        offsets = alignment.estimate[-1].bias.data[: 2 * 9].view(9, 2)  # of every tap, (dx, dy)
        offsets[:, 0] = wanted
        aligned = alignment.align(frames, key, flow)
        expected = torch.arange(24.0) + 2.0 + found
        inside = slice(0, 24 - 8)  # the rest is sampled beyond the border
        assert torch.allclose(aligned[0, 1, 0, 12, inside], expected[inside], atol=1e-3)


def test_a_model_keeps_the_bound():
    source = VideoAutoencoder(None, CONFIG)
    decoder = build(describe(FlowAugmentedDecoder(source, max_residual=3.0), frozen=False))
    assert {alignment.max_residual for alignment in decoder.alignments} == {3.0}
    with pytest.raises(UserError, match="max_residual -1"):
        FlowAugmentedDecoder(source, max_residual=-1)
