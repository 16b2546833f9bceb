"""How sure a classifier of actions is of videos, and how varied they are."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from movideo.errors import UserError
from movideo.metrics import inception_score
from movideo.metrics.base import Figure, Protocol
from movideo.metrics.bootstrap import Interval, normal_interval, resample
from movideo.metrics.clips import JudgedClips
from movideo.metrics.extractors import C3D, Extractor


class InceptionScore(Figure):
    """Inception Score of videos by `inception_score`, on C3D as in the literature of UCF-101.

    Which video goes to which split follows from its name.

    Args:
        classifier: the `C3D` of UCF-101 by default, which needs its file. Any other makes another
            score, and wants another `name`.
        gives: what comes out of the classifier.
        splits: into how many parts.
        name: heads the column.

    Raises:
        UserError: `splits` is under 1.
    """

    higher_is_better = True
    interval_method = "bootstrap over videos, the score ± deviations of a normal one"

    def __init__(
        self,
        classifier: Extractor | None = None,
        gives: Literal["probabilities", "logits"] = "probabilities",
        splits: int = 10,
        name: str = "IS",
    ) -> None:
        super().__init__()
        if splits < 1:
            raise UserError(f"splits: {splits}; give at least 1")
        self.classifier = classifier or C3D()
        self.gives = gives
        self.splits = splits
        self.name = name

    def unavailable(self) -> str | None:
        """See `Figure.unavailable`."""
        return self.classifier.unavailable()

    def measure(self, clips: JudgedClips) -> Tensor:
        """Probabilities of classes, `(1, K)`."""
        given: Tensor = self.classifier(clips.video)
        return given.softmax(dim=1) if self.gives == "logits" else given

    def summary(self, rows: Tensor) -> Tensor:
        """See `Figure.summary`."""
        return inception_score(rows, self.splits) if len(rows) else rows.nanmean()

    def interval(
        self, level: float = 0.95, replicates: int = 100, seed: int = 0
    ) -> Interval | None:
        """See `Figure.interval`."""
        _, rows = self.table()
        if len(rows) < 2:
            return None

        def redrawn(generator: torch.Generator) -> Tensor:
            return self.summary(rows[resample(len(rows), generator)])

        return normal_interval(self.summary(rows), redrawn, level, replicates, seed)

    def warning(self, count: int) -> str | None:
        """See `Figure.warning`."""
        classes = self.rows[0].shape[-1] if self.rows else 0
        if count // self.splits >= classes:
            return None
        return (
            f"{self.name}: {count} videos in {self.splits} splits, for {classes} classes; a split "
            "cannot show them all and the score is too low: compare it with that of as many videos "
            "only"
        )

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | {"splits": self.splits} | self.classifier.protocol()
