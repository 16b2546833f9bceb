"""Pictures of a report: the worst, the median and the best clip, as every method made it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Better = Literal["higher", "lower"]

FOLDER = "pictures"


@dataclass(frozen=True)
class Shown:
    """A clip that a picture shows.

    Attributes:
        clip: its name.
        value: the metric that it was chosen for.
    """

    clip: str
    value: float


@dataclass(frozen=True)
class Pictures:
    """Which clips a report shows.

    Attributes:
        metric: the one that they were chosen by.
        method: whose values decided.
        shown: the clips, under `worst`, `median` and `best`.
    """

    metric: str
    method: str
    shown: dict[str, Shown]


def choose(values: Mapping[str, float], better: Better) -> dict[str, Shown]:
    """The worst, the median and the best clip.

    Of equal ones the first by name is the worst; the median of an even number is the worse of two.

    Args:
        values: a metric of each clip by its name; those that are NaN are passed over.
        better: which values are good.

    Returns:
        Under `worst`, `median` and `best`; empty where no clip has a value.
    """
    sign = 1 if better == "higher" else -1
    known = [name for name, value in values.items() if not math.isnan(value)]
    if not known:
        return {}
    known.sort(key=lambda name: (sign * values[name], name))
    chosen = {"worst": known[0], "median": known[(len(known) - 1) // 2], "best": known[-1]}
    return {place: Shown(name, values[name]) for place, name in chosen.items()}


def picture_path(place: str) -> Path:
    """Where a picture lies in a report's folder."""
    return Path(FOLDER, f"{place}.png")
