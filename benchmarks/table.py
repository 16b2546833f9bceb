"""The one table of all benchmarks: its rows, how it is written, and what is worse than before."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import set_start_method
from pathlib import Path

RATIO = ""  # the unit of what can be compared between machines
TOLERANCE = 1.1  # a ratio that grows by more is worse
HEAD = "| case | what | median | lowest | highest | at most | |"


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        what: is measured.
        values: one a round.
        unit: of values that depend on the machine; ratios have none, and less is better.
        limit: that the median shall not pass.
    """

    what: str
    values: tuple[float, ...]
    unit: str = RATIO
    limit: float | None = None

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.values)

    def cells(self) -> list[str]:
        """As the table has them."""
        figures = [self.median, min(self.values), max(self.values)]
        met = "" if self.limit is None else "met" if self.median <= self.limit else "missed"
        what = f"{self.what}, {self.unit}" if self.unit else self.what
        limit = "" if self.limit is None else f"{self.limit:g}"
        return [what, *(f"{figure:.3g}" for figure in figures), limit, met]


def ratio(
    what: str, ours: Sequence[float], peer: Sequence[float], limit: float | None = None
) -> Row:
    """Ours over the peer's, round by round: load that falls on a round falls on both."""
    return Row(what, tuple(a / b for a, b in zip(ours, peer, strict=True)), limit=limit)


Table = dict[str, list[Row]]  # by case


def measure(case: str, rounds: int) -> list[Row]:
    """The rows of `benchmarks.<case>`; here, where a process that is spawned finds it."""
    set_start_method(None, force=True)  # or what is spawned would spawn its own workers too
    rows: list[Row] = list(import_module(f"benchmarks.{case}").rows(rounds))
    return rows


def markdown(table: Table, machine: str) -> str:
    """The table, under it the machine."""
    lines = [HEAD, "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
    lines += [
        f"| {' | '.join([case, *row.cells()])} |" for case, rows in table.items() for row in rows
    ]
    return "\n".join([*lines, "", machine])


def save(table: Table, path: Path, machine: str) -> None:
    """Writes `path` as JSON and, beside it, as Markdown; cases that are there already stay."""
    table = (read(path) if path.exists() else {}) | table
    table = dict(sorted(table.items()))
    cases = {case: [asdict(row) for row in rows] for case, rows in table.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "cases": cases}, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(table, machine) + "\n")


def read(path: Path) -> Table:
    """What `save` wrote."""
    cases = json.loads(path.read_text())["cases"]
    return {
        case: [Row(**{**row, "values": tuple(row["values"])}) for row in rows]
        for case, rows in cases.items()
    }


def worse(table: Table, baseline: Table) -> Iterable[str]:
    """Names every ratio whose median is worse than the baseline's by more than a tenth."""
    for case, rows in table.items():
        before = {row.what: row for row in baseline.get(case, []) if row.unit == RATIO}
        for row in rows:
            peer = before.get(row.what)
            if peer and row.median > TOLERANCE * peer.median:
                yield (
                    f"{case}, {row.what}: {row.median:.3g} ({min(row.values):.3g} to "
                    f"{max(row.values):.3g}), {row.median / peer.median - 1:.0%} above the "
                    f"baseline's {peer.median:.3g}"
                )
