"""Several reports side by side, as long as they measured the same in the same way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from movideo.errors import UserError
from movideo.evaluation.markdown import FROZEN, NONE, heading, number, table, text
from movideo.evaluation.report import Measured, MetricInfo, Report, row_videos

_ABSENT = object()


@dataclass(frozen=True)
class Labelled:
    """A report under the name that it is told apart by."""

    label: str
    report: Report


def compare(reports: Sequence[Labelled], any_protocol: bool = False) -> str:
    """A table of all methods of all reports, in Markdown.

    Where the first report has the same method, the others show how far they are from it.

    Args:
        reports: in the order of the table; at least one.
        any_protocol: list the differences of protocols below the table, rather than refuse.

    Raises:
        UserError: two of them measured something else, or in another way.
    """
    differences = list(protocol_differences(reports))
    if differences and not any_protocol:
        raise UserError(
            f"{differences[0]}; give --any_protocol true to put them side by side all the same"
        )
    sections = [_table(reports), "\n".join(_notes(reports))]
    if differences:
        lines = (f"- {text(difference)}" for difference in differences)
        sections.append("\n".join(["Not the same protocol:\n", *lines]))
    return "\n\n".join(sections) + "\n"


def protocol_differences(reports: Sequence[Labelled]) -> Iterator[str]:
    """What each report has otherwise than those before it: data, number of videos, metrics."""
    first, *others = reports
    known: dict[str, tuple[str, MetricInfo]] = {}
    for name, info in first.report.metrics.items():
        known[name] = first.label, info
    for other in others:
        yield from _differences("data", first.label, _data(first), other.label, _data(other))
        for name, info in other.report.metrics.items():
            label, before = known.setdefault(name, (other.label, info))
            yield from _differences(name, label, _flat(before), other.label, _flat(info))


def _data(labelled: Labelled) -> dict[str, Any]:
    return {**labelled.report.data, "videos": labelled.report.videos}


def _flat(info: MetricInfo) -> dict[str, Any]:
    fields = asdict(info)
    return {**fields.pop("protocol"), **fields}


def _differences(
    what: str, label: str, before: Mapping[str, Any], other_label: str, after: Mapping[str, Any]
) -> Iterator[str]:
    for key in {**before, **after}:
        there, here = (found.get(key, _ABSENT) for found in (before, after))
        if there != here:
            yield f"{other_label}: {what}: {key} is {_said(here)}, in {label} {_said(there)}"


def _said(value: Any) -> str:
    return "not given" if value is _ABSENT else str(value)


def _table(reports: Sequence[Labelled]) -> str:
    metrics: dict[str, MetricInfo] = {}
    for labelled in reports:
        metrics = labelled.report.metrics | metrics  # as the first that has it
    titles = dict.fromkeys(title for labelled in reports for title in labelled.report.rows)
    columns = dict.fromkeys(name for labelled in reports for name in labelled.report.metrics)
    header = ["method", "report", "videos", *(heading(name, metrics[name]) for name in columns)]
    first = reports[0].report
    rows = []
    for title in titles:
        base = first.rows.get(title)
        for index, labelled in enumerate(reports):
            if (row := labelled.report.rows.get(title)) is None:
                continue
            beside = base.metrics if base and index else {}
            cells = (_cell(row.metrics.get(name), beside.get(name)) for name in columns)
            rows.append([text(title), text(labelled.label), str(row_videos(row)), *cells])
    return table(header, rows)


def _cell(cell: Measured | None, base: Measured | None) -> str:
    if cell is None or math.isnan(cell.value):
        return NONE
    if base is None or not math.isfinite(cell.value - base.value):
        return number(cell.value)
    return f"{number(cell.value)} ({cell.value - base.value:+.3g})"


def _notes(reports: Sequence[Labelled]) -> Iterator[str]:
    yield f"In parentheses: the difference to the same method in {text(reports[0].label)}."
    metrics = (info for labelled in reports for info in labelled.report.metrics.values())
    if any(info.frozen_clip_wins for info in metrics):
        yield f"{FROZEN} A clip that never moves wins."
    yield ""
    for labelled in reports:
        software, seed = labelled.report.software, labelled.report.seed
        versions = {name: software.packages.get(name, "?") for name in ("movideo", "torch")}
        made = ", ".join(f"{name} {version}" for name, version in versions.items())
        commit = f", commit {software.commit[:12]}" if software.commit else ""
        yield f"- {text(labelled.label)}: seed {seed}, {text(made)}{text(commit)}"
