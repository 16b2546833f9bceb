"""Clips a second of training from the shipped configs, loader included, beside another tree's.

python -m benchmarks.training [--peer TREE] [--compiled]

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
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import training_clock
from benchmarks.table import Row
from benchmarks.timing import machine
from benchmarks.training_clock import MARK, WARM_UP

STAGES = ("stage1", "stage2")
BATCHES = {"stage1": 30, "stage2": 30, "stage3": 16}  # a step of stage 3 takes seconds
LOADER_LIMIT = 0.1
OURS = "this tree"
COMPILED = ("--trainer.callbacks+=stages.compilation.Compile",)
COMMAND = "import sys; from movideo.cli import main; sys.exit(main())"
TREE = Path(__file__).resolve().parent.parent


def measure(
    tree: Path, stage: str, batches: int, folder: Path, options: Sequence[str] = ()
) -> list[float]:
    """Seconds a clip of one run: of the clock, the process, its workers; then the first step's."""
    command = [
        sys.executable, "-c", COMMAND, "fit", "--config", f"{stage}.yaml",
        "--trainer.callbacks+=training_clock.Clock", "--trainer.logger", "false",
        "--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "1",
        "--trainer.limit_train_batches", str(batches), "--trainer.limit_val_batches", "0", *options,
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
            shares = tuple(workers / (own + workers) for _, own, workers, _ in spent)
            yield Row(stage, tuple(1 / wall for wall, *_ in spent), "clips a second")
            yield Row(f"{stage}, share of the loader's workers", shares, limit=LOADER_LIMIT)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, help="another checkout, measured in turns")
    parser.add_argument("--compiled", action="store_true", help="this tree also compiled")
    parser.add_argument("--stages", nargs="+", default=list(STAGES))
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    kinds: dict[str, tuple[Path, tuple[str, ...]]] = {OURS: (TREE, ())}
    if options.peer:
        kinds["peer"] = (options.peer.resolve(), ())
    if options.compiled:
        kinds["compiled"] = (TREE, COMPILED)
    print(
        "| stage | | clips a second | of this tree | CPU s a clip | loader's share | 1st step, s |"
    )
    print("| --- " * 7 + "|")
    with tempfile.TemporaryDirectory() as name:
        for stage in options.stages:
            measure(TREE, stage, WARM_UP + 1, Path(name))  # renders and labels the scenes
            spent: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, (tree, more) in kinds.items():
                    spent[kind].append(measure(tree, stage, options.batches, Path(name), more))
            rates = {kind: [1 / wall for wall, *_ in rows] for kind, rows in spent.items()}
            ours = statistics.median(rates[OURS])
            for kind, rows in spent.items():
                _, own, workers, first = (statistics.median(v) for v in zip(*rows, strict=True))
                rate, low, high = (f(rates[kind]) for f in (statistics.median, min, max))
                print(
                    f"| {stage} | {kind} | {rate:.2f} ({low:.2f} to {high:.2f}) "
                    f"| {rate / ours:.2f} | {own + workers:.3f} | {workers / (own + workers):.1%} "
                    f"| {first:.1f} |",
                    flush=True,
                )
    print(f"\nMedians of {options.rounds} rounds, {options.batches - WARM_UP} batches each.")
    print(machine())


if __name__ == "__main__":
    main()
