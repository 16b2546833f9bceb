"""How sure a classifier is of each sample, and how varied samples are."""

from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.metrics.base import Description, VideoMetric
from movideo.metrics.bootstrap import Interval, normal_interval, resample
from movideo.metrics.clips import MeasuredClips
from movideo.metrics.extractors import C3D, Extractor


def inception_score(probabilities: Tensor, splits: int = 10) -> Tensor:
    """Inception Score (Salimans et al. 2016).

    `exp(mean of KL(p(y|x) || p(y)))` of each split, averaged over splits. In float64.

    Args:
        probabilities: of classes, `(N, K)`, each row of sum 1.
        splits: into this many parts of consecutive samples, as equal as they can be; no more than
            there are samples.

    Returns:
        A scalar in [1, K], float64; NaN without samples.
    """
    parts = probabilities.double().tensor_split(max(1, min(splits, len(probabilities))))
    return torch.stack([_divergence(part).exp() for part in parts]).mean()


def _divergence(probabilities: Tensor) -> Tensor:
    """Mean over samples of the divergence from their mean; 0 log 0 is 0."""
    marginal = probabilities.mean(dim=0, keepdim=True)
    own, shared = (torch.special.xlogy(probabilities, p) for p in (probabilities, marginal))
    divergence: Tensor = (own - shared).sum(dim=1)
    return divergence.mean()


class InceptionScore(VideoMetric):
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

    weight_spec = C3D.weight_spec

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

    @override
    def unavailable(self) -> str | None:
        return self.classifier.unavailable()

    def measure(self, clips: MeasuredClips) -> Tensor:
        """Probabilities of classes, `(1, K)`."""
        given: Tensor = self.classifier(clips.video)
        return given.softmax(dim=1) if self.gives == "logits" else given

    @override
    def summary(self, rows: Tensor) -> Tensor:
        return inception_score(rows, self.splits) if len(rows) else rows.nanmean()

    @override
    def interval(
        self, level: float = 0.95, replicates: int = 100, seed: int = 0
    ) -> Interval | None:
        _, rows = self.table()
        if len(rows) < 2:
            return None

        def redrawn(generator: torch.Generator) -> Tensor:
            return self.summary(rows[resample(len(rows), generator)])

        return normal_interval(self.summary(rows), redrawn, level, replicates, seed)

    @override
    def warning(self, count: int) -> str | None:
        classes = self.rows[0].shape[-1] if self.rows else 0
        if count // self.splits >= classes:
            return None
        return (
            f"{self.name}: {count} videos in {self.splits} splits, for {classes} classes; a split "
            "cannot show them all and the score is too low: compare it with that of as many videos "
            "only"
        )

    @override
    def protocol(self) -> Description:
        return super().protocol() | {"splits": self.splits} | self.classifier.protocol()
