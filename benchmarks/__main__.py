"""All benchmarks as one table: `python -m benchmarks [CASE ...]`.

Each case runs in a process of its own and measures what it compares in turns. The table is saved
as JSON and Markdown; ratios hold within one run, whatever the machine.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks import table
from benchmarks.timing import machine

CASES = (
    "start_up", "unet", "decoder", "operations", "growth", "generation", "sampling", "training",
    "loading", "precompute",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and saves; exits with 1 if a ratio is worse than the baseline's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; or all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/table.json"))
    parser.add_argument("--baseline", type=Path, help="a table that this one is compared with")
    options = parser.parse_args(arguments)
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"{', '.join(sorted(unknown))}: no case; there are {', '.join(CASES)}")
    if options.baseline and not options.baseline.is_file():
        parser.error(f"--baseline {options.baseline}: no such file; make one with --out")
    measured: table.Table = {}
    for case in options.cases or CASES:
        print(f"{case} ...", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            measured[case] = process.submit(table.measure, case, options.rounds).result()
        table.save({case: measured[case]}, options.out, machine())
    print(table.markdown(measured, machine()))
    if options.baseline:
        found = list(table.worse(measured, table.read(options.baseline)))
        print("\n".join(found) or f"No ratio is worse than that of {options.baseline}.")
        sys.exit(bool(found))


if __name__ == "__main__":
    main()
