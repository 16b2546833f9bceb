"""What a test found, with all that its numbers depend on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from movideo.errors import UserError
from movideo.evaluation.examples import Better, Pictures, Shown
from movideo.evaluation.provenance import Run, Software
from movideo.metrics.base import Description, VideoMetric
from movideo.metrics.bootstrap import Difference, Interval
from movideo.storage.atomic import whole_file

FORMAT = 3
FILE = "report.json"
DIGITS = 6  # that count, of numbers in the file


FROZEN_KEY_FRAME = "FrozenKeyFrame"  # the `method` of the row that a metric may not be won by
Settings = dict[str, Any]
"""What a method's videos depend on: plain values."""


@dataclass(frozen=True)
class MetricInfo:
    """A column.

    Attributes:
        unit: such as `dB`; empty for a plain number.
        better: which values are good; None where neither end is.
        frozen_clip_wins: whether a clip that never moves gets the best value.
        protocol: how it was measured.
    """

    unit: str
    better: Better | None
    frozen_clip_wins: bool
    protocol: Description

    @classmethod
    def of(cls, metric: VideoMetric) -> Self:
        """What a metric says of itself."""
        better: dict[bool | None, Better | None] = {True: "higher", False: "lower"}
        return cls(
            metric.unit,
            better.get(metric.higher_is_better),
            metric.frozen_clip_wins,
            metric.protocol(),
        )


@dataclass(frozen=True)
class Measured:
    """A cell.

    Attributes:
        value: NaN where there is none.
        interval: 95% confidence, by bootstrap; None where there is none.
        samples: videos that have this metric.
        warning: what to bear in mind.
        difference: from the report's baseline, paired; None where there is none.
    """

    value: float
    interval: Interval | None
    samples: int
    warning: str | None
    difference: Difference | None = None

    @classmethod
    def of(cls, metric: VideoMetric, seed: int = 0) -> Self:
        """What a metric found; with several processes each has to call this.

        Args:
            metric: after its last `update`.
            seed: of the bootstrap.
        """
        _, rows = metric.table()
        count = sum(not row.isnan().any() for row in rows)
        if count == 0:
            return cls(math.nan, None, 0, None)
        try:
            value, interval = metric.compute().item(), metric.interval(seed=seed)
        except UserError as error:  # too few; the other metrics of a long run shall not be lost
            return cls(math.nan, None, count, str(error))
        return cls(value, interval, count, metric.warning(count))


@dataclass(frozen=True)
class ReportRow:
    """What a method is worth.

    Attributes:
        settings: what its videos depend on.
        metrics: its cells, by the metrics' names; those that do not apply to it are left out.
    """

    settings: Settings
    metrics: dict[str, Measured]


@dataclass(frozen=True)
class Report:
    """What a test found.

    Attributes:
        table: the paper's table that it stands beside (see `published`), if any.
        baseline: title of the row that the others are compared with, if any.
        data: protocol of the data set.
        seed: of the noise and of the bootstrap.
        metrics: the columns, by name.
        rows: by the methods' titles.
        not_computed: metrics and methods that are missing, with the reason and how to get them.
        pictures: which clips are shown.
        software: what computed it.
        run: time and place.
    """

    table: str | None
    baseline: str | None
    data: Description
    seed: int
    metrics: dict[str, MetricInfo]
    rows: dict[str, ReportRow]
    not_computed: dict[str, str]
    pictures: Pictures | None
    software: Software
    run: Run

    @property
    def videos(self) -> int:
        """The most that any method was measured on."""
        return max((row_videos(row) for row in self.rows.values()), default=0)

    def content(self) -> dict[str, Any]:
        """All but time and place, in plain values: the same for two runs that are equal."""
        content = _plain(asdict(self))
        del content["run"]
        return dict(content)

    def to_json(self) -> str:
        """The content of `report.json`: numbers to 6 digits; null for NaN."""
        found = {"format": FORMAT, **_plain(_rounded(asdict(self)))}
        return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, folder: str | Path) -> Path:
        """Writes `report.json`.

        Raises:
            UserError: it cannot be written.
        """
        path = Path(folder, FILE)
        with whole_file(path) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")
        return path


def row_videos(row: ReportRow) -> int:
    """How many videos of a method were measured."""
    return max((cell.samples for cell in row.metrics.values()), default=0)


def read_report(path: str | Path) -> Report:
    """Reads a report.

    Args:
        path: its `report.json`, or the folder that holds one.

    Raises:
        UserError: there is none, it is another kind of file, or a newer movideo wrote it.
    """
    place = Path(path, FILE) if Path(path).is_dir() else Path(path)
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{place}: no such report; name a {FILE}, or the folder that movideo test wrote it to"
        ) from error
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:  # no text, no JSON
        raise _no_report(place) from error
    version = found.pop("format", None) if isinstance(found, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(
            f"{place}: format {version}, and this movideo reads {FORMAT}; update movideo"
        )
    try:
        if version == 1:
            found, version = _renamed(found), 2
        if version == 2:
            found, version = _without_baseline(found), FORMAT
        report = _parsed(found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _no_report(place) from error
    # Whatever was of another kind, and had to be converted, would be written differently.
    if version != FORMAT or _plain(asdict(report)) != found:
        raise _no_report(place)
    return report


def _renamed(found: Any) -> Any:
    """A report of format 1, which called metrics figures."""
    if isinstance(found, dict):
        names = {"figures": "metrics", "figure": "metric"}
        return {names.get(key, key): _renamed(value) for key, value in found.items()}
    return found


def _without_baseline(found: Mapping[str, Any]) -> Any:
    """A report of format 2, which compared no row with another."""
    rows = {
        title: {**row, "metrics": {m: {**c, "difference": None} for m, c in row["metrics"].items()}}
        for title, row in found["rows"].items()
    }
    return {**found, "baseline": None, "rows": rows}


def _no_report(path: Path) -> UserError:
    return UserError(f"{path}: no report of movideo test, or damaged; name another file")


def _parsed(found: Mapping[str, Any]) -> Report:
    pictures = found["pictures"]
    return Report(
        **{
            **found,
            "table": None if found["table"] is None else str(found["table"]),
            "baseline": None if found["baseline"] is None else str(found["baseline"]),
            "data": dict(found["data"]),
            "seed": int(found["seed"]),
            "metrics": {name: _metric(f) for name, f in found["metrics"].items()},
            "rows": {name: _row(row) for name, row in found["rows"].items()},
            "not_computed": {name: str(why) for name, why in found["not_computed"].items()},
            "pictures": None if pictures is None else _pictures(pictures),
            "software": Software(**found["software"]),
            "run": Run(**found["run"]),
        }
    )


def _metric(found: Mapping[str, Any]) -> MetricInfo:
    if found["better"] not in ("higher", "lower", None):
        raise ValueError(found["better"])
    return MetricInfo(**{**found, "unit": str(found["unit"]), "protocol": dict(found["protocol"])})


def _row(found: Mapping[str, Any]) -> ReportRow:
    metrics = {name: _cell(cell) for name, cell in found["metrics"].items()}
    return ReportRow(**{**found, "settings": dict(found["settings"]), "metrics": metrics})


def _cell(found: Mapping[str, Any]) -> Measured:
    difference = found["difference"]
    if difference is not None:
        difference = Difference(**{**difference, **_estimate(difference)})
    return Measured(**{**found, **_estimate(found), "difference": difference})


def _estimate(found: Mapping[str, Any]) -> dict[str, Any]:
    interval = found["interval"]
    if interval is not None:
        low, high = interval
        interval = _number(low), _number(high)
    value, samples = _number(found["value"]), int(found["samples"])
    return {"value": value, "interval": interval, "samples": samples}


def _pictures(found: Mapping[str, Any]) -> Pictures:
    shown = {
        place: Shown(**{**clip, "value": _number(clip["value"])})
        for place, clip in found["shown"].items()
    }
    return Pictures(**{**found, "shown": shown})


def _number(found: Any) -> float:
    return math.nan if found is None else float(found)


def _plain(value: Any) -> Any:
    """As JSON has it: lists, and numbers that it lacks in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
