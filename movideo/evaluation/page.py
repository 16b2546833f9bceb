"""`report.md`: a report for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from movideo.evaluation.examples import picture_path
from movideo.evaluation.markdown import FROZEN, NONE, heading, number, table, text
from movideo.evaluation.published import UNKNOWN, PublishedRow, PublishedTable, published_table
from movideo.evaluation.report import FROZEN_KEY_FRAME, Report, ReportRow, row_videos
from movideo.storage.atomic import whole_file

FILE = "report.md"


def write_page(report: Report, folder: str | Path) -> Path:
    """Writes `report.md`, which shows the pictures that lie in the same folder.

    Raises:
        UserError: it cannot be written, or the report names a table of the paper that there is not.
    """
    path = Path(folder, FILE)
    with whole_file(path) as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    return path


def page(report: Report) -> str:
    """The report in Markdown.

    Raises:
        UserError: the report names a table of the paper that there is not.
    """
    published = None if report.table is None else published_table(report.table)
    sections = [
        f"# {published.title if published else 'Evaluation'}",
        _main_table(report, published),
        *_notes(report, published),
        *_beside_baseline(report),
        *_pictures(report),
        *_not_computed(report),
        "## Description",
        _list("Data", {"seed": report.seed, **report.data}),
        *(_list(name, info.protocol) for name, info in report.metrics.items()),
        "## Methods",
        *(_list(title, row.settings) for title, row in report.rows.items()),
        "## Made with",
        _made_with(report),
    ]
    return "\n\n".join(sections) + "\n"


def _main_table(report: Report, published: PublishedTable | None) -> str:
    header = ["method", "videos", *(heading(n, info) for n, info in report.metrics.items())]
    best = {name: _best(report, name) for name in report.metrics}
    rows = [
        [
            text(title),
            str(row_videos(row)),
            *(_cell(row, name, best[name]) for name in report.metrics),
        ]
        for title, row in report.rows.items()
    ]
    for printed in _printed(report, published):
        values = (printed.values.get(name) for name in report.metrics)
        title = f"*{text(printed.method)}, {text(printed.source)}*"
        rows.append([title, NONE, *(NONE if v is None else f"*{v:g}*" for v in values)])
    return table(header, rows)


def _printed(report: Report, published: PublishedTable | None) -> list[PublishedRow]:
    rows = published.rows if published else ()
    return [row for row in rows if row.values.keys() & report.metrics.keys()]


def _cell(row: ReportRow, name: str, best: str | None) -> str:
    cell = row.metrics.get(name)
    if cell is None or math.isnan(cell.value):
        return NONE
    written = number(cell.value)
    words = [f"**{written}**" if written == best else written]
    if cell.interval is not None:
        words.append(f"[{number(cell.interval[0])}, {number(cell.interval[1])}]")
    if cell.samples != row_videos(row):
        words.append(f"({cell.samples} videos)")
    return " ".join(words)


def _best(report: Report, name: str) -> str | None:
    """The best value of a column as it is printed: what prints alike is equally good."""
    info = report.metrics[name]
    values = [
        row.metrics[name].value
        for row in report.rows.values()
        if name in row.metrics and not (info.frozen_clip_wins and _is_frozen(row))
    ]
    values = [value for value in values if not math.isnan(value)]
    if info.better is None or not values:
        return None
    return number(max(values) if info.better == "higher" else min(values))


def _is_frozen(row: ReportRow) -> bool:
    return row.settings.get("method") == FROZEN_KEY_FRAME


def _notes(report: Report, published: PublishedTable | None) -> Iterator[str]:
    lines = ["Bold: the best of a column. In brackets: 95% confidence, see the protocol."]
    if frozen := [text(n) for n, info in report.metrics.items() if info.frozen_clip_wins]:
        there = any(map(_is_frozen, report.rows.values()))
        lines.append(
            f"{FROZEN} A clip that never moves wins {' and '.join(frozen)}: "
            + (
                "the frozen key frame is a row of the table, and never bold there."
                if there
                else "no frozen key frame stands beside, so the best value may mean little motion."
            )
        )
    if published:
        lines.append(_source(report, published))
    yield "\n".join(f"- {line}" for line in lines + list(_warnings(report)))


def _beside_baseline(report: Report) -> Iterator[str]:
    """What each row has more than the baseline, video by video."""
    rows = {title: row for title, row in report.rows.items() if title != report.baseline}
    names = [
        name
        for name in report.metrics
        if any(row.metrics[name].difference for row in rows.values() if name in row.metrics)
    ]
    if report.baseline is None or not names:
        return
    yield f"## Beside {text(report.baseline)}"
    header = ["method", *(heading(name, report.metrics[name]) for name in names)]
    yield table(
        header,
        ([text(title), *(_difference(row, name) for name in names)] for title, row in rows.items()),
    )
    yield (
        "What a method has more, on the clips that both have. In brackets: 95% confidence, by a "
        "bootstrap over the videos that clips are cut from, both methods drawn alike; bold where "
        "it leaves out zero."
    )


def _difference(row: ReportRow, name: str) -> str:
    found = row.metrics[name].difference if name in row.metrics else None
    if found is None:
        return NONE
    value = f"{found.value:+.4g}"
    if found.interval is None:
        return value
    low, high = found.interval
    written = f"**{value}**" if low > 0 or high < 0 else value
    return f"{written} [{low:+.4g}, {high:+.4g}]"


def _source(report: Report, published: PublishedTable) -> str:
    where = f"{text(published.source)}; {text(published.protocol)}"
    if not published.rows:
        return f"The paper's table: {where}; {UNKNOWN}."
    if not _printed(report, published):
        names = ", ".join(dict.fromkeys(name for row in published.rows for name in row.values))
        return f"The paper's table has other columns ({names}): {where}."
    return f"In italics, as printed and not measured here: {where}."


def _warnings(report: Report) -> Iterator[str]:
    methods: dict[str, list[str]] = {}
    for title, row in report.rows.items():
        for cell in row.metrics.values():
            if cell.warning is not None:
                methods.setdefault(cell.warning, []).append(title)
    for warning, titles in methods.items():
        yield f"{text(warning)} ({text(', '.join(titles))})"


def _pictures(report: Report) -> Iterator[str]:
    if report.pictures is None:
        return
    metric, method = report.pictures.metric, report.pictures.method
    yield "## Pictures"
    for place, shown in report.pictures.shown.items():
        path = picture_path(place).as_posix()
        yield f"{place}: {text(shown.clip)}, {text(metric)} of {text(method)} {number(shown.value)}"
        yield f"![{place}]({path})"


def _not_computed(report: Report) -> Iterator[str]:
    if not report.not_computed:
        return
    yield "## Not computed"
    yield "\n".join(f"- {text(name)}: {text(why)}" for name, why in report.not_computed.items())


def _list(title: str, values: Mapping[str, Any]) -> str:
    lines = (f"- {text(key)}: {text(value)}" for key, value in values.items())
    return "\n".join([f"**{text(title)}**\n", *lines])


def _made_with(report: Report) -> str:
    software, run = report.software, report.run
    packages = ", ".join(f"{name} {version}" for name, version in software.packages.items())
    processes = f"{run.processes} processes" if run.processes > 1 else "1 process"
    return "\n".join(
        [
            f"- {text(packages)}, Python {text(software.python)}",
            f"- commit {text(software.commit or 'not known')}",
            f"- {text(run.host)}, {text(run.device)}, {processes}; "
            f"{number(run.seconds)} s until {text(run.ended)}",
        ]
    )
