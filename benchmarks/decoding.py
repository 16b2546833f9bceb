"""Times clip decoding beside decord and torchcodec: the same clips of the same files, in turns.

    python -m benchmarks.decoding

Prints a Markdown table. A reader opens a file, decodes 17 frames on one thread and closes it, as
for one sample of a training set; each has a process of its own, as in a loader's worker. The peers
give interleaved pixels, seen through a permuted view; a batch of planes lays them out anew, so each
peer is timed without and with that. At the file's own size they repeat the halved samples of colour
and round down, as `exact_colours=False` does.
"""

import argparse
import ctypes.util
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import av
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor
from tqdm import tqdm

from benchmarks import sample_clips
from benchmarks.timing import machine
from movideo.scenes.render import render_scene
from movideo.video.read import VideoInfo, probe, read_pixels
from movideo.video.write import write_mp4

FRAMES = 17
RATES = (4.0, 8.0, float("inf"))  # frames per second; a file gives at most its own
SIZES = (None, (256, 256))  # (height, width): the file's, and a square cut from its centre
STARTS = (0.0, 0.4, 0.8)  # share of the start times that the file allows
SAME = (
    25.0  # dB of PSNR; readers that disagree about a frame are far below, about its colours above
)
OURS = "movideo"
QUICK = "movideo, quick colours"
PLANES = ", planes"


@dataclass(frozen=True)
class Clip:
    """What is read at one go.

    Attributes:
        info: the file.
        times: seconds, each in the middle of a frame's time on display, so that all agree on it.
        size: (height, width) of the frames, or None.
    """

    info: VideoInfo
    times: tuple[float, ...]
    size: tuple[int, int] | None

    @property
    def covering(self) -> tuple[int, int]:
        """(height, width) to which frames are resized before the centre is cut out."""
        have = (self.info.height, self.info.width)
        wanted = self.size or have
        scale = max(w / h for w, h in zip(wanted, have, strict=True))
        return round(have[0] * scale), round(have[1] * scale)


Reader = Callable[[Clip], Tensor]


def ours(clip: Clip) -> Tensor:
    """Reads with this package."""
    return read_pixels(clip.info.path, clip.times, clip.size)


def ours_quick(clip: Clip) -> Tensor:
    """Reads with this package, colours converted as the peers do."""
    return read_pixels(clip.info.path, clip.times, clip.size, exact_colours=False)


def torchcodec_reader() -> Reader:
    """Reads with torchcodec, which resizes and crops in FFmpeg's filters."""
    from torchcodec import transforms
    from torchcodec.decoders import VideoDecoder

    def read(clip: Clip) -> Tensor:
        steps = [transforms.Resize(clip.covering), transforms.CenterCrop(clip.size or (0, 0))]
        decoder = VideoDecoder(
            clip.info.path, num_ffmpeg_threads=1, transforms=steps if clip.size else None
        )
        frames: Tensor = decoder.get_frames_played_at(list(clip.times)).data
        return frames

    return read


def decord_reader() -> Reader:
    """Reads with decord, which resizes while it converts colours."""
    import decord

    decord.bridge.set_bridge("torch")

    def read(clip: Clip) -> Tensor:
        height, width = clip.covering
        reader = decord.VideoReader(str(clip.info.path), num_threads=1, width=width, height=height)
        indices = [int(time * reader.get_avg_fps()) for time in clip.times]
        frames: Tensor = reader.get_batch(indices).permute(0, 3, 1, 2)
        return F.center_crop(frames, list(clip.size)) if clip.size else frames

    return read


def as_planes(read: Reader, clip: Clip) -> Tensor:
    """What `read` gives, laid out as a batch is."""
    return read(clip).contiguous()


@cache
def find_readers() -> tuple[dict[str, Reader], list[str]]:
    """All that can be timed here, and one line for each peer that does not work."""
    readers: dict[str, Reader] = {OURS: ours, QUICK: ours_quick}
    missing = []
    for name, make in (("torchcodec", torchcodec_reader), ("decord", decord_reader)):
        try:
            readers[name] = make()
        except (ImportError, OSError, RuntimeError) as error:
            missing.append(f"{name} cannot be used: {str(error).strip().splitlines()[0]}")
        else:
            readers[f"{name}{PLANES}"] = partial(as_planes, readers[name])
    return readers, missing


def make_files(folder: Path) -> list[VideoInfo]:
    """Three real clips and a rendered one."""
    sample_clips.main(str(folder), str(folder))
    video = render_scene(0, num_frames=150, size=(256, 256), fps=30).video
    write_mp4(folder / "rendered.mp4", video, fps=30)
    return [probe(path) for path in sorted(folder.iterdir())]


def make_clips(info: VideoInfo, rate: float, size: tuple[int, int] | None) -> list[Clip]:
    """Clips spread over a file; none where it is too short for one."""
    fps = min(rate, info.fps)
    spare = info.duration - (FRAMES - 1) / fps
    if spare < 0 or (rate > info.fps and rate != max(RATES)):
        return []
    starts = [int(share * spare * info.fps) for share in STARTS]
    steps = [int(i * info.fps / fps + 1e-6) for i in range(FRAMES)]
    return [Clip(info, tuple((n + s + 0.5) / info.fps for s in steps), size) for n in starts]


def agreement(clip: Clip) -> float:
    """PSNR in dB of the frame in which a reader is furthest from ours; below SAME, it ends all.

    Ours are those of the ffmpeg program where it interpolates colour exactly, as a test asserts.
    """
    expected, psnr = ours(clip).float(), {}
    for name, read in find_readers()[0].items():
        if name != OURS:
            error = (read(clip).float() - expected).square().mean((1, 2, 3)).max()
            psnr[name] = float(10 * torch.log10(255**2 / error))
    name = min(psnr, key=lambda reader: psnr[reader])
    if psnr[name] < SAME:
        sys.exit(f"{name} gives other frames of {clip.info.path}: {psnr[name]:.1f} dB")
    return psnr[name]


def time_reader(name: str, clips: list[Clip]) -> float:
    """Milliseconds of CPU a clip.

    Of CPU, since decord decodes on a thread of its own beside the one that asks, and the workers of
    a loader keep every core busy anyway.
    """
    torch.set_num_threads(1)
    read = find_readers()[0][name]
    read(clips[0])  # what memory is needed is had from now on
    start = time.process_time()
    for clip in clips:
        read(clip)
    return 1000 * (time.process_time() - start) / len(clips)


def measure(
    workers: dict[str, ProcessPoolExecutor], clips: list[Clip], rounds: int
) -> dict[str, float]:
    """Median milliseconds of CPU a clip; in turns, so that other load falls on all."""
    turns: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            turns[name].append(worker.submit(time_reader, name, clips).result())
    return {name: statistics.median(values) for name, values in turns.items()}


def rows(
    infos: list[VideoInfo], workers: dict[str, ProcessPoolExecutor], rounds: int
) -> Iterator[str]:
    """A line of the table for each file, rate and size."""
    peers = [name for name in workers if name not in (OURS, QUICK)]
    jobs = [(info, rate, size) for info in infos for size in SIZES for rate in RATES]
    for info, rate, size in tqdm(jobs):
        clips = make_clips(info, rate, size)
        if not clips:
            continue
        psnr = agreement(clips[-1])
        took = measure(workers, clips, rounds)
        views = min(took[name] for name in peers if PLANES not in name)
        planes = min(took[name] for name in peers if PLANES in name)
        height, width = size or (info.height, info.width)
        cells = [info.path.stem, f"{min(rate, info.fps):.4g}", f"{width} x {height}"]
        cells += [f"{took[name]:.1f}" for name in workers]
        for ours_took in (took[OURS], took[QUICK]):
            cells += [f"{ours_took / views:.2f}", f"{ours_took / planes:.2f}"]
        cells.append(f"{psnr:.0f}")
        yield f"| {' | '.join(cells)} |"


def report(rounds: int) -> None:
    """Measures and prints."""
    torch.set_num_threads(1)
    readers, missing = find_readers()
    print("\n".join(missing) or "Both peers can be used.")
    if len(missing) == 2:
        return
    heads = ["file", "fps", "size", *(f"{name} (ms)" for name in readers)]
    heads += [f"{name} / best peer{how}" for name in (OURS, QUICK) for how in ("", PLANES)]
    heads += ["least agreement (dB)"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers = {
            name: stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
            for name in readers
        }
        lines = list(rows(make_files(Path(folder)), workers, rounds))
    print(f"\nClips of {FRAMES} frames, CPU time, medians of {rounds} rounds in turns.\n")
    print("\n".join([f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|", *lines]))
    print(f"\n{machine()}")


def lend_ffmpeg(folder: Path) -> dict[str, str]:
    """Environment in which torchcodec, which brings no FFmpeg, finds PyAV's by its usual names."""
    libraries = Path(av.__file__).parents[1] / "av.libs"
    for library in libraries.glob("lib*"):
        if name := re.match(r"(lib(?:av|sw)[a-z]+)-\w+(\.so\.\d+)", library.name):
            (folder / "".join(name.groups())).symlink_to(library)
    return {**os.environ, "LD_LIBRARY_PATH": f"{folder}:{libraries}"}


def main() -> None:
    """Runs the benchmark, in a process of its own where torchcodec has to be lent an FFmpeg."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    needs_ffmpeg = find_spec("torchcodec") and not ctypes.util.find_library("avcodec")
    if not needs_ffmpeg or "LD_LIBRARY_PATH" in os.environ:
        report(rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.decoding", "--rounds", str(rounds)]
        sys.exit(subprocess.run(command, env=lend_ffmpeg(Path(folder)), check=False).returncode)


if __name__ == "__main__":
    main()
