"""Several ways to make videos, measured side by side: test only."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from movideo.clips.batch import EvaluationBatch
from movideo.errors import UserError
from movideo.estimators import DepthEstimator, DISFlow, FlowEstimator, ParallaxDepth
from movideo.evaluation import Method, MethodUnavailable
from movideo.evaluation.examples import Pictures, choose, picture_path
from movideo.evaluation.page import write_page
from movideo.evaluation.producer import SampleProducer
from movideo.evaluation.provenance import Run, Software, of_clips_seen
from movideo.evaluation.published import published_table
from movideo.evaluation.report import Measured, MetricInfo, Report, ReportRow
from movideo.evaluation.samples import SampleFolder, folder_name
from movideo.hub import EMBEDDED
from movideo.hub.needs import WeightSpec
from movideo.metrics import VideoMetric
from movideo.metrics.base import Description, clip_ids
from movideo.metrics.bootstrap import Difference
from movideo.processes import gather_objects, of_first
from movideo.text_to_image import TextToImage
from movideo.video.write import write_image
from movideo.visualization.clips import clip_visualization


class VideoEvaluation(L.LightningModule):
    """Has every method make a video of every sample, and reports what they are worth.

    Videos are kept in `out/samples`: a run that was stopped makes only those that are missing, and
    a metric that is added later is computed from them, unless it needs motion that was not kept.
    `out/report.json`, `out/report.md` and pictures are written at the end.

    Args:
        methods: the rows, by title.
        metrics: the columns; one that cannot be computed here is named in the report.
        model: of the methods that name none: a folder written by `movideo export`, a hub id, or by
            default the small one that comes along.
        table: which of the paper's tables stands beside (see `movideo.evaluation.published`).
        baseline: title of the method that the others are compared with, video by video.
        depth_estimator: estimates the motion of true clips that come without labels.
        flow_estimator: likewise.
        text_to_image: draws the key frames of prompts.
        seed: of the noise; each sample's own depends on its name too.
        out: the report's folder.

    Raises:
        UserError: there is no method, no metric, no such table or baseline, or a method's title
            does not do.
    """

    weight_spec = WeightSpec(checkpoints={"model": "movideo export"})

    def __init__(
        self,
        methods: dict[str, Method],
        metrics: list[VideoMetric],
        model: str = EMBEDDED,
        table: str | None = None,
        baseline: str | None = None,
        depth_estimator: DepthEstimator | None = None,
        flow_estimator: FlowEstimator | None = None,
        text_to_image: TextToImage | None = None,
        seed: int = 0,
        out: str = "evaluation",
    ) -> None:
        super().__init__()
        if not methods or not metrics:
            raise UserError("model.methods, model.metrics: give at least one of each")
        folders = Counter(map(folder_name, methods))
        for title in methods:
            if folders[folder_name(title)] > 1 or title.startswith("."):
                raise UserError(
                    f"model.methods: {title!r} cannot name a folder of its own; rename it"
                )
        if baseline is not None and baseline not in methods:
            raise UserError(
                f"model.baseline: {baseline!r} is none of the methods ({', '.join(methods)})"
            )
        self.table = table
        self.baseline = baseline
        if table is not None:
            published_table(table)  # refuses what is none before hours are spent
        self.seed = seed
        self.out = Path(out)
        self.not_computed: dict[str, str] = {}
        self.methods: dict[str, Method] = {}
        for title, method in methods.items():
            try:
                method.prepare(model)
                self.methods[title] = method
            except MethodUnavailable as error:
                self.not_computed[title] = str(error)
        for metric in metrics:
            if (missing := metric.unavailable()) is not None:
                self.not_computed[metric.name] = missing
        self.metrics = [metric for metric in metrics if metric.name not in self.not_computed]
        self.cells = {
            title: {metric.name: deepcopy(metric) for metric in self.metrics}
            for title in self.methods
        }
        self.metric_networks = nn.ModuleList(
            metric for cells in self.cells.values() for metric in cells.values()
        )
        self.producer = SampleProducer(
            SampleFolder(self.out / "samples"),
            depth_estimator or ParallaxDepth(),
            flow_estimator or DISFlow(),
            text_to_image,
            seed,
            keeps_motion=any("motion" in metric.needs for metric in self.metrics),
        )

    def setup(self, stage: str) -> None:
        """Refuses a precision that would change the metrics' networks too, unseen in the report.

        Raises:
            UserError: it is not `32-true`.
        """
        if self.trainer.precision != "32-true":
            raise UserError(
                f"trainer.precision: {self.trainer.precision}; metrics are measured in 32-true: "
                "give --trainer.precision 32-true"
            )

    def training_step(self, *_: object) -> None:
        """Never reached: `configure_optimizers` refuses first."""

    def configure_optimizers(self) -> None:
        """Refuses to train.

        Raises:
            UserError: always.
        """
        raise UserError("stages.VideoEvaluation: nothing to train; use it with movideo test")

    def on_test_start(self) -> None:
        """Says at once what the report will lack."""
        self._started = monotonic()
        self._names: set[str] = set()
        for name, reason in self.not_computed.items():
            rank_zero_info(f"{name}: not computed: {reason}")

    def test_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Makes the videos that are missing, and measures all."""
        for title, clips in self.producer.judged(self.methods, batch):
            for metric in self.cells[title].values():
                if metric.fits(clips):
                    metric.update(clips)
        self._names.update(batch["name"])

    def on_test_epoch_end(self) -> None:
        """Writes the report, on the first process, to which all bring their metrics."""
        for metric in (metric for cells in self.cells.values() for metric in cells.values()):
            metric.gather_to_first()
        names = gather_objects(self._names)
        rows: dict[str, ReportRow] = {}
        if self.trainer.is_global_zero:
            self._names = set().union(*names)
            beside = self._differences()
            rows = {
                title: ReportRow(
                    self.methods[title].settings(), _measured(cells, self.seed, beside[title])
                )
                for title, cells in self.cells.items()
            }
        rows = of_first(rows)
        if self.trainer.is_global_zero:
            pictures = self._pictures()
            report = Report(
                table=self.table,
                baseline=self.baseline,
                data=self._data_protocol(),
                seed=self.seed,
                metrics={metric.name: MetricInfo.of(metric) for metric in self.metrics},
                rows=rows,
                not_computed=self.not_computed,
                pictures=pictures,
                software=Software.here(),
                run=Run.ending_now(
                    self.device, monotonic() - self._started, self.trainer.world_size
                ),
            )
            report.write(self.out)
            rank_zero_info(f"report: {write_page(report, self.out)}")
        for title, row in rows.items():
            self.log_dict({f"test/{title}/{name}": m.value for name, m in row.metrics.items()})

    def _differences(self) -> dict[str, dict[str, Difference | None]]:
        """By method and metric, what the method has more than the baseline."""
        beside = self.cells.get(self.baseline or "", {})
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        known = data.sources_of_clips() if hasattr(data, "sources_of_clips") else {}
        groups = {int(clip_ids([name])): known.get(name, name) for name in self._names}
        return {
            title: {
                name: cells[name].difference(metric, groups, seed=self.seed)
                for name, metric in beside.items()
                if title != self.baseline
            }
            for title, cells in self.cells.items()
        }

    def _data_protocol(self) -> Description:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        protocol = of_clips_seen(data.protocol(), self._names)
        return {"motion of clips without labels": self.producer.estimators, **protocol}

    def _pictures(self) -> Pictures | None:
        """Draws the first method's worst, median and best clip, by the first metric that can."""
        names = {int(clip_ids([name])): name for name in self._names}
        title, cells = next(iter(self.cells.items()))
        for name, metric in cells.items():
            ids, values = metric.table()
            better = MetricInfo.of(metric).better
            if better is None or metric.frozen_clip_wins or values.shape != (len(names),):
                continue
            by_name = {names[int(i)]: float(v) for i, v in zip(ids, values, strict=True)}
            shown = choose(by_name, better)
            for place, clip in shown.items():
                write_image(self.out / picture_path(place), self._sheet(clip.clip))
            return Pictures(name, title, shown)
        return None

    def _sheet(self, name: str) -> Tensor:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        videos = {title: self.producer.samples.video(title, name) for title in self.methods}
        return clip_visualization(data.true_clip(name), videos)


def _measured(
    cells: dict[str, VideoMetric], seed: int, differences: dict[str, Difference | None]
) -> dict[str, Measured]:
    """Those of a method's metrics that apply to it."""
    measured = {
        name: replace(Measured.of(metric, seed), difference=differences.get(name))
        for name, metric in cells.items()
    }
    return {name: found for name, found in measured.items() if found.samples}
