"""`python -m benchmarks.gpu FOLDER`: runs what is not there yet, and writes it as a table."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import __doc__ as summary
from benchmarks.gpu.cases import cases
from benchmarks.gpu.device import device_name, peak_teraflops
from benchmarks.gpu.scale import PAPER, STAGES, TINY

Results = dict[str, dict[str, dict[str, Any]]]
FAILED = "failed"


def main(arguments: list[str] | None = None) -> None:
    """Measures until all is there or time is up; what is there stays."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(summary or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="where gpu.json and gpu.md are kept")
    parser.add_argument("--case", nargs="+", help="by default all")
    parser.add_argument("--tiny", action="store_true", help="at sizes that a CPU does in a minute")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which nothing is begun")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    known = cases(TINY if options.tiny else PAPER, options.folder)
    if unknown := set(options.case or ()) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: no case; there are {', '.join(known)}")
    path = options.folder / "gpu.json"
    results: Results = json.loads(path.read_text())["results"] if path.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    left = [
        (case, variant)
        for case in options.case or known
        for variant in known[case]
        if variant not in results.get(case, {})
    ]
    while left and time.monotonic() < end:
        case, variant = left.pop(0)
        print(f"{case}, {variant} ...", file=sys.stderr, flush=True)
        try:
            figures = known[case][variant]()
        except (RuntimeError, torch.OutOfMemoryError) as error:
            figures = {FAILED: str(error).strip().splitlines()[0]}
        results.setdefault(case, {})[variant] = figures
        path.write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")
        path.with_suffix(".md").write_text(report(results))
    print(report(results))
    if left:
        print(f"{len(left)} left, from {', '.join(left[0])} on: run it again with this folder.")


def machine() -> str:
    """One line on where and with what this ran."""
    return f"{device_name()}, torch {torch.__version__}, {date.today()}."


def report(results: Results) -> str:
    """A table a case; of training also the share of the device's operations that are used."""
    sections = []
    for case, variants in results.items():
        rows = {name: dict(row) for name, row in variants.items()}
        if case in STAGES:
            counted = rows.pop("operations", {}).get("TFLOP a clip")
            rows = {name: {**row, **_utilisation(row, counted)} for name, row in rows.items()}
        for row in rows.values():
            row.pop("losses", None)
        sections.append(f"## {case}\n\n{_table(rows)}")
    if difference := _loss_difference(results.get("precision", {})):
        sections.append(difference)
    return "\n\n".join([*sections, machine()]) + "\n"


def _utilisation(row: Mapping[str, Any], counted: float | None) -> dict[str, Any]:
    """Operations a second, without those done twice, and their share of the device's peak."""
    if counted is None or "clips a second" not in row:
        return {}
    speed, peak = counted * row["clips a second"], peak_teraflops()
    return {"TFLOP/s": speed} | ({} if peak is None else {"of the peak": f"{speed / peak:.0%}"})


def _loss_difference(curves: Mapping[str, Mapping[str, Any]]) -> str:
    losses = [torch.tensor(curve["losses"]) for curve in curves.values() if "losses" in curve]
    if len(losses) < 2 or len(losses[0]) != len(losses[1]):
        return ""
    window = min(20, len(losses[0]))
    smooth = [values.unfold(0, window, 1).mean(-1) for values in losses]
    worst = float(((smooth[1] - smooth[0]).abs() / smooth[0]).max())
    return f"Means of {window} losses differ by at most {worst:.1%} over {len(losses[0])} steps."


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    heads = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(_cell(row.get(head)) for head in heads)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
