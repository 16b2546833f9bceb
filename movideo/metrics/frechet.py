"""How far apart two sets of features are."""

import torch
from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.metrics.base import Description, VideoMetric, clip_ids
from movideo.metrics.bootstrap import Interval, normal_interval, resample
from movideo.metrics.clips import MeasuredClips
from movideo.metrics.extractors import I3D, EmbeddedVideoFeatures, Extractor, InceptionV3

REPLICATES = 100  # two covariances each
MOST_FEATURES = 512  # that so many can be done with in minutes


def frechet_distance(first: Tensor, second: Tensor) -> Tensor:
    """Fréchet distance of the normal distributions that two sets of features have.

    `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` (Heusel et al. 2017), means and covariances those
    of the samples. In float64, without the root of a matrix: where `S1 = A^T A` and `S2 = B^T B`,
    the eigenvalues of `(S1 S2)^(1/2)` are the singular values of `A B^T`. That also holds where the
    covariances are singular, as with fewer samples than features.

    Args:
        first: `(N, D)`.
        second: `(M, D)`.

    Returns:
        A scalar, at least 0, float64.

    Raises:
        UserError: a set has fewer than 2 samples.
    """
    for features in (first, second):
        if len(features) < 2:
            raise UserError(
                f"Fréchet distance: a set of {len(features)} samples has no covariance; give at "
                "least 2, and thousands to compare with the literature"
            )
    first, second = first.double(), second.double()
    apart = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    one, other = _root(first), _root(second)
    shared = torch.linalg.svdvals(one @ other.T).sum()
    distance: Tensor = apart + one.square().sum() + other.square().sum() - 2 * shared
    return distance.clamp_min(0)


def _root(features: Tensor) -> Tensor:
    """A matrix R of at most D rows with `R^T R` the covariance of features `(N, D)`."""
    centred = (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5
    root: Tensor = torch.linalg.qr(centred, mode="r").R
    return root


class FrechetDistance(VideoMetric):
    """Fréchet distance between features of videos and of true clips, by `frechet_distance`.

    The two sets may differ in size: each true clip counts once, however many videos name it.

    Args:
        extractor: what gives the features.
        name: heads the column; say which network it is.

    Raises:
        UserError: on `compute`, where a set has fewer than 2 samples.
    """

    needs = ("truth", "references")
    higher_is_better = False
    interval_method = (
        "bootstrap over true clips with their videos, the distance ± deviations of a normal one, "
        f"for repeated samples raise it; none with over {MOST_FEATURES} features, for time"
    )
    owners: list[Tensor]
    true_ids: list[Tensor]
    true_rows: list[Tensor]

    def __init__(self, extractor: Extractor, name: str = "Fréchet distance") -> None:
        super().__init__()
        self.extractor = extractor
        self.name = name
        self.add_state("owners", [], dist_reduce_fx="cat")
        self.add_state("true_ids", [], dist_reduce_fx="cat")
        self.add_state("true_rows", [], dist_reduce_fx="cat")

    @override
    def unavailable(self) -> str | None:
        return self.extractor.unavailable()

    def measure(self, clips: MeasuredClips) -> Tensor:
        """Features of the video; those of its true clip are kept too."""
        truth, references = clips.truth, clips.references
        assert truth is not None
        assert references is not None
        owner, key = clip_ids(references), (id(self.extractor), references[0])
        # A clip's captions follow one another: 20 copies of each would fill the memory.
        if not (self.owners and torch.equal(owner, self.owners[-1])):
            self.true_ids.append(owner)
            self.true_rows.append(clips.once(key, lambda: self.extractor(truth).cpu()))
        self.owners.append(owner)
        features: Tensor = self.extractor(clips.video)
        return features

    @override
    def compute(self) -> Tensor:
        return frechet_distance(*(rows.flatten(0, -2) for rows in self._sets()))

    @override
    def interval(
        self, level: float = 0.95, replicates: int = REPLICATES, seed: int = 0
    ) -> Interval | None:
        sets = self._sets()
        if min(map(len, sets)) < 2 or sets[0].shape[-1] > MOST_FEATURES:
            return None

        videos, truth = sets
        true_ids, _ = self.gathered(self.true_ids, self.true_rows)
        _, owners = self.gathered(self.ids, self.owners)
        place = torch.searchsorted(true_ids, owners)

        def redrawn(generator: torch.Generator) -> Tensor:
            drawn = resample(len(truth), generator)
            times = drawn.bincount(minlength=len(truth))
            theirs = videos.repeat_interleave(times[place], dim=0)
            return frechet_distance(theirs.flatten(0, -2), truth[drawn].flatten(0, -2))

        point = frechet_distance(*(rows.flatten(0, -2) for rows in sets))
        low, high = normal_interval(point, redrawn, level, replicates, seed)
        return max(low, 0.0), high

    @override
    def warning(self, count: int) -> str | None:
        if count < 2:
            return f"{self.name}: needs at least 2 videos and 2 true clips, not {count}"
        per_video = self.rows[0][0].numel() if self.rows else 0
        dimension = self.rows[0].shape[-1] if self.rows else 0
        true_ids, _ = self.gathered(self.true_ids, self.true_ids)
        samples = min(count, len(true_ids)) * per_video // max(dimension, 1)  # of the smaller set
        if samples > dimension:
            return None
        return (
            f"{self.name}: {samples} samples of {dimension} features; the covariance is not of "
            "full rank and the distance far too large: compare it with that of as many samples only"
        )

    @override
    def protocol(self) -> Description:
        return super().protocol() | self.extractor.protocol()

    def _sets(self) -> tuple[Tensor, Tensor]:
        """Features of the videos `(N, ..., D)` and of the true clips `(M, ..., D)`, in float64."""
        _, rows = self.table()
        _, true_rows = self.gathered(self.true_ids, self.true_rows)
        return rows, true_rows.double()


class FVD(FrechetDistance):
    """Fréchet video distance (Unterthiner et al. 2018).

    Args:
        path: to the I3D; see `I3D`. Null makes the metric unavailable.
        frames: how many it sees; see `I3D`.
    """

    weight_spec = I3D.weight_spec

    def __init__(self, path: str | None = None, frames: int | None = None) -> None:
        super().__init__(I3D(path, frames), "FVD")


class FID(FrechetDistance):
    """Fréchet inception distance (Heusel et al. 2017) between frames.

    Args:
        path: to the weights of Inception; see `InceptionV3`.
        frames: how many a video; see `InceptionV3`.
    """

    weight_spec = InceptionV3.weight_spec

    def __init__(self, path: str | None = None, frames: int = 4) -> None:
        super().__init__(InceptionV3(path, frames), "FID")


class EmbeddedVideoDistance(FrechetDistance):
    """Fréchet distance over `EmbeddedVideoFeatures`: not FVD, but needs nothing.

    It says which of two sets made of the same clips is nearer to the truth, in one protocol; the
    number itself means nothing.
    """

    def __init__(self) -> None:
        super().__init__(EmbeddedVideoFeatures(), "embedded video distance")
