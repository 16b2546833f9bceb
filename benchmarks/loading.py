"""Times labels from shards, up to collated batches, beside reading the same bytes and making them.

    python -m benchmarks.loading

Prints Markdown. In every round each candidate opens the shards and passes through them twice, in
shuffled orders: with a cold cache (the kernel was told to forget them, POSIX_FADV_DONTNEED), then
with a warm one. Times are from the second batch on, so that starting a worker does not count.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from benchmarks import sample_clips
from benchmarks.table import Row, ratio
from benchmarks.timing import machine
from datamodules.epoch_order import EpochOrder
from datamodules.loader import ResumableLoader
from datamodules.sampler import Place, PlaceSampler
from movideo.clips.clip import Clip, ClipSettings, read_clip
from movideo.clips.index import index_clips
from movideo.estimators import DISFlow, ParallaxDepth
from movideo.shards.labels import label_clip
from movideo.shards.shard import ClipLabels, write_shard
from movideo.shards.store import LabelStore

FRAMES, GRID, SIZE = 17, (64, 64), (256, 256)
SHARD_SIZE, BATCH_SIZE = 64, 8
CACHES = ("cold", "warm")
AIM = 1.5
READ, SHARDS = "plain read into one buffer", "shards, collated"
READ_IN_WORKER = "plain read in a worker, collated, handed over"
SHARDS_IN_WORKER = "shards in a worker, collated, handed over"
DECODE = "Decoding the clip at 256x256 on the fly"
ESTIMATE = "Decoding it and estimating its labels (DIS flow, parallax depth) on the fly"

Times = dict[str, dict[str, list[float]]]


class Labels(Dataset[dict[str, Tensor]]):
    """What a clip's sample holds besides its video."""

    def __init__(self, clips: list[Clip], folder: Path) -> None:
        self.clips, self.store = clips, LabelStore(folder)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, place: Place) -> dict[str, Tensor]:
        return vars(self.store.stored(self.clips[place.clip]))


class PlainReads(Dataset[dict[str, Tensor]]):
    """The same bytes by plain reads into fresh memory, from files that are open already."""

    def __init__(self, folder: Path) -> None:
        self.rows: list[list[Extent]] = []
        for path in sorted(folder.iterdir()):
            self.rows += extents(path)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Place) -> dict[str, Tensor]:
        return {each.tensor: torch.from_numpy(each.read()) for each in self.rows[place.clip]}


class Extent(NamedTuple):
    """Where a clip's part of a tensor lies."""

    tensor: str
    file: FileIO
    offset: int
    size: int

    def read(self, memory: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """What is there, in the memory given or in fresh memory."""
        content = np.empty(self.size, np.uint8) if memory is None else memory[: self.size]
        os.preadv(self.file.fileno(), [content.data], self.offset)
        return content


def extents(path: Path) -> list[list[Extent]]:
    """Those of each row of a shard, by the header that safetensors puts before the tensors."""
    file = FileIO(path)
    length = int.from_bytes(file.read(8), "little")
    tensors = {n: t for n, t in json.loads(file.read(length)).items() if n != "__metadata__"}
    rows: list[list[Extent]] = [[] for _ in range(tensors["depth"]["shape"][0])]
    for name, tensor in tensors.items():
        start, end = tensor["data_offsets"]
        size = (end - start) // len(rows)
        for number, row in enumerate(rows):
            row.append(Extent(name, file, 8 + length + start + number * size, size))
    return rows


def make_shards(folder: Path, count: int) -> list[Clip]:
    """Writes shards of random labels: 17 frames on a grid of 64x64, 0.7 MB a clip."""
    random = torch.Generator().manual_seed(0)
    clips = [
        Clip(f"{index}.mp4", f"{index:064x}", 0.0, 10.0, FRAMES, SIZE, FRAMES // 2)
        for index in range(count)
    ]
    for first in range(0, count, SHARD_SIZE):
        rows = clips[first : first + SHARD_SIZE]
        write_shard(folder / f"{first:06d}.safetensors", rows, [_labels(random) for _ in rows], {})
    return clips


def _labels(random: torch.Generator) -> ClipLabels:
    depth, flow_i2v, flow_v2i = (
        torch.randn(FRAMES, channels, *GRID, generator=random) for channels in (1, 2, 2)
    )
    return ClipLabels(depth, flow_i2v, flow_v2i, torch.rand(FRAMES, 2, generator=random))


def forget(folder: Path) -> None:
    """Drops the shards from the page cache; no process may have them mapped."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sampler(dataset: Any, count: int) -> PlaceSampler:
    """Batches of all clips in shuffled order."""
    zeros = np.zeros(count, dtype=np.int64)
    order = EpochOrder(zeros, zeros, None, BATCH_SIZE, seed=0)
    return PlaceSampler(dataset, order, rank=0, world_size=1)


class ReadAlone:
    """The physical limit: all bytes read in this process, always into the same memory."""

    def __init__(self, folder: Path, count: int) -> None:
        self.rows = PlainReads(folder).rows
        self.sampler = sampler(self.rows, count)
        self.memory = np.empty(max(extent.size for row in self.rows for extent in row), np.uint8)

    def __iter__(self) -> Iterator[int]:
        places = list(self.sampler)
        for first in range(0, len(places), BATCH_SIZE):
            batch = [self.rows[place.clip] for place in places[first : first + BATCH_SIZE]]
            yield sum(len(extent.read(self.memory)) for row in batch for extent in row)


def candidates(folder: Path, clips: list[Clip]) -> dict[str, Callable[[], Any]]:
    """What opens the shards and gives batches, by name."""
    count = len(clips)

    def loader(dataset: Dataset[Any], num_workers: int) -> ResumableLoader:
        stays = num_workers > 0
        places = sampler(dataset, count)
        return ResumableLoader(dataset, places, num_workers=num_workers, persistent_workers=stays)

    return {
        READ: lambda: ReadAlone(folder, count),
        SHARDS: lambda: loader(Labels(clips, folder), 0),
        READ_IN_WORKER: lambda: loader(PlainReads(folder), 1),
        SHARDS_IN_WORKER: lambda: loader(Labels(clips, folder), 1),
    }


def milliseconds(batches: Any, epoch: int) -> float:
    """Times one pass from its second batch on; a clip's share."""
    batches.sampler.set_epoch(epoch)
    remaining = iter(batches)
    next(remaining)
    start = time.perf_counter()
    count = sum(1 for _ in remaining)
    return 1000 * (time.perf_counter() - start) / (count * BATCH_SIZE)


def measure_shards(folder: Path, count: int, rounds: int) -> Times:
    """Milliseconds a clip by candidate and state of the cache."""
    clips = make_shards(folder, count)
    times: Times = {name: {cache: [] for cache in CACHES} for name in candidates(folder, clips)}
    for _ in tqdm(range(rounds), desc="shards"):
        for name, build in candidates(folder, clips).items():
            forget(folder)
            batches = build()
            for epoch, cache in enumerate(CACHES):
                times[name][cache].append(milliseconds(batches, epoch))
            del batches  # or its shards would stay mapped, and so in the cache
    return times


def measure_making(folder: Path) -> dict[str, float]:
    """Milliseconds of what shards save, medians over real clips, for one clip of 256x256."""
    sample_clips.main(str(folder / "a"), str(folder / "b"))
    settings = ClipSettings(FRAMES, SIZE, clips_per_video=4)
    clips = index_clips([folder / "a", folder / "b"], settings).clips
    depth, flow = ParallaxDepth(), DISFlow()
    times: dict[str, list[float]] = {DECODE: [], ESTIMATE: []}
    for clip in tqdm(clips, desc="decoding"):
        start = time.perf_counter()
        read_clip(clip)
        times[DECODE].append(1000 * (time.perf_counter() - start))
    for clip in tqdm(clips[::4], desc="estimating"):  # one a video: it takes long
        start = time.perf_counter()
        label_clip(read_clip(clip), clip.key_index, depth, flow, GRID)
        times[ESTIMATE].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def rows(rounds: int) -> list[Row]:
    """Labels from shards over plain reads of the same bytes."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        times = measure_shards(Path(folder), 512, rounds)
    return [
        ratio(f"shards, of plain reads, {cache}", times[SHARDS][cache], times[READ][cache], AIM)
        for cache in CACHES
    ]


def report(times: Times, making: dict[str, float], count: int) -> str:
    """Writes the measurements as Markdown."""
    medians = {
        name: {cache: statistics.median(values) for cache, values in of.items()}
        for name, of in times.items()
    }
    rounds = len(times[READ]["cold"])
    lines = [
        f"Labels of {count} clips of {FRAMES} frames on a grid of {GRID[0]}x{GRID[1]}, batches of "
        f"{BATCH_SIZE}, milliseconds a clip. Medians of {rounds} interleaved rounds.",
        "",
        "| | cold | of plain read | warm | of plain read |",
        "| --- " * 5 + "|",
    ]
    for name, median in medians.items():
        cells = []
        for cache in CACHES:
            of_read = median[cache] / medians[READ][cache]
            cells += [f"{median[cache]:.2f}", f"{of_read:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [""]
    cold, warm = (medians[SHARDS][cache] for cache in CACHES)
    lines += [
        f"- {what}: {value:.0f} ms a clip, {value / cold:.0f} times as long as labels from shards "
        f"(cold), {value / warm:.0f} times (warm)."
        for what, value in making.items()
    ]
    return "\n".join([*lines, "", machine()])


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=512, help=f"a multiple of {BATCH_SIZE}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", help="on the disk to measure; the default is a temporary folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        (Path(folder) / "shards").mkdir()
        times = measure_shards(Path(folder) / "shards", options.clips, options.rounds)
        making = measure_making(Path(folder))
    print(report(times, making, options.clips))


if __name__ == "__main__":
    main()
