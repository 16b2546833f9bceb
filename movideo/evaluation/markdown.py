"""Tables and numbers in Markdown, of text that others may have written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from movideo.evaluation.report import MetricInfo

NONE = "–"
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
FROZEN = "†"  # marks metrics that a clip that never moves wins
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*|<[]"})


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells as they are, see `text`; numbers stand to the right."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ruler, *rows))


def text(value: object) -> str:
    """Any text as one line that means itself in Markdown, and nothing to a terminal."""
    words = " ".join(str(value).split())
    return "".join(c if c.isprintable() else " " for c in words).translate(_MARKS)


def number(value: float) -> str:
    """Four digits that count, but all of those before the point."""
    if math.isnan(value):
        return NONE
    return f"{value:.0f}" if 1e4 <= abs(value) < math.inf else f"{value:.4g}"


def heading(name: str, metric: MetricInfo) -> str:
    """A column's, such as `PSNR (dB) ↑`."""
    unit = f" ({text(metric.unit)})" if metric.unit else ""
    frozen = f" {FROZEN}" if metric.frozen_clip_wins else ""
    return f"{text(name)}{unit}{ARROWS[metric.better]}{frozen}"
