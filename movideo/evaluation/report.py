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
from movideo.evaluation.methods import Settings
from movideo.evaluation.provenance import Run, Software
from movideo.metrics.base import Figure, Protocol
from movideo.metrics.bootstrap import Interval
from movideo.storage.atomic import whole_file

FORMAT = 1
FILE = "report.json"
DIGITS = 6  # that count, of numbers in the file


@dataclass(frozen=True)
class FigureInfo:
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
    protocol: Protocol

    @classmethod
    def of(cls, figure: Figure) -> Self:
        """What a figure says of itself."""
        better: dict[bool | None, Better | None] = {True: "higher", False: "lower"}
        return cls(
            figure.unit,
            better.get(figure.higher_is_better),
            figure.frozen_clip_wins,
            figure.protocol(),
        )


@dataclass(frozen=True)
class Measured:
    """A cell.

    Attributes:
        value: NaN where there is none.
        interval: 95% confidence, by bootstrap; None where there is none.
        samples: videos that have this figure.
        warning: what to bear in mind.
    """

    value: float
    interval: Interval | None
    samples: int
    warning: str | None

    @classmethod
    def of(cls, figure: Figure, seed: int = 0) -> Self:
        """What a figure found; with several processes each has to call this.

        Args:
            figure: after its last `update`.
            seed: of the bootstrap.
        """
        _, rows = figure.table()
        count = sum(not row.isnan().any() for row in rows)
        if count == 0:
            return cls(math.nan, None, 0, None)
        try:
            value, interval = figure.compute().item(), figure.interval(seed=seed)
        except UserError as error:  # too few; the other figures of a long run shall not be lost
            return cls(math.nan, None, count, str(error))
        return cls(value, interval, count, figure.warning(count))


@dataclass(frozen=True)
class ReportRow:
    """What a method is worth.

    Attributes:
        settings: what its videos depend on.
        figures: its cells, by the figures' names; those that do not apply to it are left out.
    """

    settings: Settings
    figures: dict[str, Measured]


@dataclass(frozen=True)
class Report:
    """What a test found.

    Attributes:
        table: the paper's table that it stands beside (see `published`), if any.
        data: protocol of the data set.
        seed: of the noise and of the bootstrap.
        figures: the columns, by name.
        rows: by the methods' titles.
        not_computed: figures and methods that are missing, with the reason and how to get them.
        pictures: which clips are shown.
        software: what computed it.
        run: time and place.
    """

    table: str | None
    data: Protocol
    seed: int
    figures: dict[str, FigureInfo]
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
    return max((cell.samples for cell in row.figures.values()), default=0)


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
        report = _parsed(found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _no_report(place) from error
    # Whatever was of another kind, and had to be converted, would be written differently.
    if version != FORMAT or _plain(asdict(report)) != found:
        raise _no_report(place)
    return report


def _no_report(path: Path) -> UserError:
    return UserError(f"{path}: no report of movideo test, or damaged; name another file")


def _parsed(found: Mapping[str, Any]) -> Report:
    pictures = found["pictures"]
    return Report(
        **{
            **found,
            "table": None if found["table"] is None else str(found["table"]),
            "data": dict(found["data"]),
            "seed": int(found["seed"]),
            "figures": {name: _figure(f) for name, f in found["figures"].items()},
            "rows": {name: _row(row) for name, row in found["rows"].items()},
            "not_computed": {name: str(why) for name, why in found["not_computed"].items()},
            "pictures": None if pictures is None else _pictures(pictures),
            "software": Software(**found["software"]),
            "run": Run(**found["run"]),
        }
    )


def _figure(found: Mapping[str, Any]) -> FigureInfo:
    if found["better"] not in ("higher", "lower", None):
        raise ValueError(found["better"])
    return FigureInfo(**{**found, "unit": str(found["unit"]), "protocol": dict(found["protocol"])})


def _row(found: Mapping[str, Any]) -> ReportRow:
    figures = {name: _cell(cell) for name, cell in found["figures"].items()}
    return ReportRow(**{**found, "settings": dict(found["settings"]), "figures": figures})


def _cell(found: Mapping[str, Any]) -> Measured:
    interval = found["interval"]
    if interval is not None:
        low, high = interval
        interval = _number(low), _number(high)
    value, samples = _number(found["value"]), int(found["samples"])
    return Measured(**{**found, "value": value, "interval": interval, "samples": samples})


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
