"""The report of a stage's own test: its means, without intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from movideo.evaluation.provenance import Run, Software
from movideo.evaluation.report import Measured, MetricInfo, Report, ReportRow, Settings
from movideo.metrics.base import Description, VideoMetric
from movideo.storage.digest import content_hash


def stage_report(
    stage: str,
    checkpoint: str | None,
    data: Description,
    metrics: Mapping[str, float],
    measured_by: Iterable[VideoMetric],
    seed: int,
    run: Run,
) -> Report:
    """A row for each decoder of stage 3, one for any other stage.

    Args:
        stage: the LightningModule's class name.
        checkpoint: what was tested, if it came from one.
        data: protocol of the clips.
        metrics: as they are logged, `test/KEY`, `test/KEY_ROW` or `test/ROW/KEY`.
        measured_by: the stage's metrics, which say unit, direction and protocol.
        seed: of the run.
        run: time and place.
    """
    settings: Settings = {"stage": stage, "checkpoint": checkpoint}
    if checkpoint is not None and Path(checkpoint).is_file():
        settings["weights"] = content_hash(checkpoint)
    rows: dict[str, dict[str, Measured]] = {}
    for name, value in metrics.items():
        row, _, metric = name.removeprefix("test/").rpartition("/")
        measured = Measured(value, None, int(data["samples"]), None)
        rows.setdefault(row or stage, {})[metric] = measured
    return Report(
        table=None,
        baseline=None,
        data=data,
        seed=seed,
        metrics={name: _info(name, measured_by) for cells in rows.values() for name in cells},
        rows={title: ReportRow(settings, cells) for title, cells in rows.items()},
        not_computed={},
        pictures=None,
        software=Software.here(),
        run=run,
    )


def _info(name: str, metrics: Iterable[VideoMetric]) -> MetricInfo:
    """What the metric says of itself whose key a logged name begins with, the longest such."""
    found = [m for m in metrics if name == m.key or name.startswith(f"{m.key}_")]
    if not found:  # what a stage logs besides
        return MetricInfo("", None, False, {})
    return MetricInfo.of(max(found, key=lambda metric: len(metric.key)))
