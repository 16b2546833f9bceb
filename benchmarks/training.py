"""Clips a second of training from the shipped configs, loader included, beside another tree's.

python -m benchmarks.training [--peer TREE]

Every run is a process of its own, in turns, so that other load on the machine falls on all alike.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import training_clock
from benchmarks.table import Row
from benchmarks.timing import machine
from benchmarks.training_clock import MARK, WARM_UP

STAGES = ("stage1", "stage2")
BATCHES = {"stage1": 30, "stage2": 30, "stage3": 16}  # a step of stage 3 takes seconds
LOADER_LIMIT = 0.1
COMMAND = "import sys; from movideo.cli import main; sys.exit(main())"
TREE = Path(__file__).resolve().parent.parent


def measure(tree: Path, stage: str, batches: int, folder: Path) -> list[float]:
    """Seconds a clip of one run: of the clock, of the process, of its workers."""
    command = [
        sys.executable, "-c", COMMAND, "fit", "--config", f"{stage}.yaml",
        "--trainer.callbacks+=training_clock.Clock", "--trainer.logger", "false",
        "--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "1",
        "--trainer.limit_train_batches", str(batches), "--trainer.limit_val_batches", "0",
    ]  # fmt: skip
    shutil.copy(training_clock.__file__, folder)  # another tree's `benchmarks` need not have it
    paths = os.pathsep.join([str(tree), str(folder)])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        raise SystemExit(f"{stage} of {tree} was not measured:\n{done.stdout[-2000:]}")
    spent: list[float] = json.loads(lines[-1].removeprefix(MARK))
    return spent


def rows(rounds: int) -> Iterator[Row]:
    """Clips a second of each stage, and what of its CPU time goes to the loader's workers."""
    with tempfile.TemporaryDirectory() as name:
        for stage, batches in BATCHES.items():
            measure(TREE, stage, WARM_UP + 1, Path(name))  # renders and labels the scenes
            spent = [measure(TREE, stage, batches, Path(name)) for _ in range(rounds)]
            shares = tuple(workers / (own + workers) for _, own, workers in spent)
            yield Row(stage, tuple(1 / wall for wall, *_ in spent), "clips a second")
            yield Row(f"{stage}, share of the loader's workers", shares, limit=LOADER_LIMIT)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, help="another checkout, measured in turns")
    parser.add_argument("--stages", nargs="+", default=list(STAGES))
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    trees = {"this tree": TREE, **({"peer": options.peer.resolve()} if options.peer else {})}
    print("| stage | | clips a second | CPU s a clip | of them in the loader's workers |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        for stage in options.stages:
            measure(TREE, stage, WARM_UP + 1, Path(name))  # renders and labels the scenes
            spent: dict[str, list[list[float]]] = {tree: [] for tree in trees}
            for _ in range(options.rounds):
                for tree, path in trees.items():
                    spent[tree].append(measure(path, stage, options.batches, Path(name)))
            rates = {tree: [1 / wall for wall, *_ in rows] for tree, rows in spent.items()}
            for tree, rows in spent.items():
                _, own, workers = (statistics.median(v) for v in zip(*rows, strict=True))
                low, high = min(rates[tree]), max(rates[tree])
                print(
                    f"| {stage} | {tree} | {statistics.median(rates[tree]):.2f} "
                    f"({low:.2f} to {high:.2f}) "
                    f"| {own + workers:.3f} | {workers / (own + workers):.1%} |",
                    flush=True,
                )
            if "peer" in rates:
                ratio = statistics.median(rates["this tree"]) / statistics.median(rates["peer"])
                print(f"| {stage} | this tree over peer | {ratio:.2f}x | | |", flush=True)
    print(f"\nMedians of {options.rounds} rounds, {options.batches - WARM_UP} batches each.")
    print(machine())


if __name__ == "__main__":
    main()
