"""What keeping latents and tokens costs and saves: bytes, rounding to float16, and time.

    python -m benchmarks.encodings

Prints Markdown. Real clips and the embedded encoders; means and times are over clips, one by one.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import sample_clips
from benchmarks.timing import machine
from movideo.clips.clip import ClipSettings, read_clip
from movideo.clips.index import index_clips
from movideo.models import ImageEncoder, VideoAutoencoder
from movideo.shards.encodings import Encoders
from movideo.shards.producer import produce_rows
from movideo.shards.store import RowStore

Metrics = dict[str, list[float]]


def relative_error(rounded: Tensor, truth: Tensor) -> float:
    """Root mean square of the error over that of the truth."""
    return float((rounded - truth).square().mean().sqrt() / truth.square().mean().sqrt())


def psnr(one: Tensor, other: Tensor) -> float:
    """Of two videos in [-1, 1], dB."""
    return float(-10 * torch.log10(((one - other) / 2).square().mean()))


@torch.no_grad()
def measure(folder: Path, per_video: int, side: int) -> Metrics:
    """Every metric by name, clip by clip; times in milliseconds."""
    sample_clips.main(str(folder), str(folder))
    settings = ClipSettings(size=(side, side), clips_per_video=per_video)
    clips = index_clips(folder, settings).clips
    autoencoder, image_encoder = VideoAutoencoder(), ImageEncoder()
    metrics: Metrics = defaultdict(list)
    stores = []
    for producer in Encoders(autoencoder, image_encoder).producers("cpu").values():
        place = folder / producer.kind.noun / "shards"
        produce_rows(clips, place, producer)
        stores.append(RowStore(producer.kind, place))
        written = sum(each.stat().st_size for each in place.iterdir())
        metrics[f"kB of {producer.kind.noun}"].append(written / len(clips) / 1000)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        metrics[name].append(1000 * (time.perf_counter() - start))

    for clip in tqdm(clips, desc="measuring"):
        with timed("read"):
            video = read_clip(clip)[None]
        with timed("latents"):
            latents = autoencoder.encode(video)
        with timed("tokens"):
            tokens = image_encoder(video[:, clip.key_index])
        with timed("kept"):  # in float32 they are copies: the file has been read
            kept, kept_tokens = (next(iter(vars(s.get(clip)).values()))[None] for s in stores)
        metrics["error of latents"].append(relative_error(kept, latents))
        metrics["error of tokens"].append(relative_error(kept_tokens, tokens))
        metrics["psnr"].append(psnr(autoencoder.decode(latents), video))
        metrics["psnr of kept"].append(psnr(autoencoder.decode(kept), video))
    return metrics


def report(metrics: Metrics, side: int) -> str:
    """Writes the metrics as Markdown."""
    read, latents, tokens, kept = (
        median(metrics[name]) for name in ("read", "latents", "tokens", "kept")
    )
    lines = [
        f"{len(metrics['read'])} real clips of 17x{side}x{side}, metrics of one clip.",
        "",
        "| | kB | relative error by float16 | encoding, ms |",
        "| --- " * 4 + "|",
    ]
    for noun, spent in (("latents", latents), ("tokens", tokens)):
        size, error = metrics[f"kB of {noun}"][0], mean(metrics[f"error of {noun}"])
        lines.append(f"| {noun} | {size:.1f} | {error:.1e} | {spent:.1f} |")
    lines += [
        "",
        f"Decoding the video takes {read:.1f} ms, reading both from shards {kept:.2f} ms: "
        f"{(read + latents + tokens) / kept:.0f} times less than decoding and encoding. Decoded "
        f"latents: {mean(metrics['psnr']):.4f} dB, of float16 {mean(metrics['psnr of kept']):.4f}.",
    ]
    return "\n".join([*lines, "", machine()])


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=8, help="from each of the three videos")
    parser.add_argument("--side", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        metrics = measure(Path(folder), options.clips, options.side)
    print(report(metrics, options.side))


if __name__ == "__main__":
    main()
