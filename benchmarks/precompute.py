"""Time of `movideo precompute` on real clips: one process of one thread against two.

python -m benchmarks.precompute
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import sample_clips
from benchmarks.table import Row, ratio
from benchmarks.timing import machine
from movideo.shards.shard import find_shards, read_header

AIM = 0.6
PROCESSES = (1, 2)


def label(videos: Path, folder: Path, processes: int, clips: int, size: int) -> float:
    """Labels a folder of videos with so many processes; gives the seconds."""
    command = [sys.executable, "-m", "movideo", "precompute", "--videos", str(videos)]
    command += ["--labels", str(folder), "--world_size", str(processes)]
    command += [f"--data.size=[{size}, {size}]", f"--data.clips_per_video={clips}"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    # Sessions of their own: on a busy machine Linux shares cores out by session, not by process.
    running = [
        subprocess.Popen(
            [*command, "--rank", str(rank)],
            env=one_thread,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        for rank in range(processes)
    ]
    if any(process.wait() for process in running):
        sys.exit("movideo precompute failed")
    return time.perf_counter() - start


def clips_in(folder: Path) -> Counter[str]:
    """How often each clip, by its key, is in the shards."""
    shards = [path for each in (folder / "labels").iterdir() for path in find_shards(each)]
    return Counter(row["key"] for path in shards for row in read_header(path)["rows"])


def measure(rounds: int, clips: int = 16, size: int = 128) -> tuple[dict[int, list[float]], int]:
    """Seconds by number of processes, and how many clips were labelled; each of them once."""
    seconds: dict[int, list[float]] = {count: [] for count in PROCESSES}
    with tempfile.TemporaryDirectory() as place:
        videos = Path(place) / "videos"
        sample_clips.main(str(videos), str(videos))
        found = []
        for turn in range(rounds):  # in turns: other load falls on both alike
            for count in PROCESSES:
                folder = Path(place) / f"{turn}-{count}"
                seconds[count].append(label(videos, folder, count, clips, size))
                found.append(clips_in(folder))
    assert all(clips == found[0] and set(clips.values()) == {1} for clips in found)
    return seconds, len(found[0])


def rows(rounds: int) -> list[Row]:
    """Two processes over one."""
    seconds, _ = measure(rounds)
    return [ratio("two processes, of one", seconds[2], seconds[1], AIM)]


def main() -> None:
    """Prints medians over rounds and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=16, help="from each of the three videos")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds, count = measure(options.rounds, options.clips, options.size)
    one, two = (statistics.median(seconds[processes]) for processes in PROCESSES)
    print(
        f"{count} clips of 17x{options.size}x{options.size}, every one once: "
        f"one process {one:.1f} s, two {two:.1f} s, ratio {two / one:.2f} "
        f"(aim: at most {AIM}, {'met' if two / one <= AIM else 'missed'}). {machine()}"
    )


if __name__ == "__main__":
    main()
