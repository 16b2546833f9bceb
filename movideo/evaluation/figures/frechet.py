"""How far a set of videos is from the set of true ones, whichever belongs to which."""

from __future__ import annotations

import torch
from torch import Tensor

from movideo.metrics import frechet_distance
from movideo.metrics.base import Figure, Protocol, clip_ids, gathered
from movideo.metrics.bootstrap import Interval, normal_interval, resample
from movideo.metrics.clips import JudgedClips
from movideo.metrics.extractors import I3D, EmbeddedVideoFeatures, Extractor, InceptionV3

REPLICATES = 100  # two covariances each
MOST_FEATURES = 512  # that so many can be done with in minutes


class FrechetDistance(Figure):
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

    def unavailable(self) -> str | None:
        """See `Figure.unavailable`."""
        return self.extractor.unavailable()

    def measure(self, clips: JudgedClips) -> Tensor:
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

    def compute(self) -> Tensor:
        """See `Figure.compute`."""
        return frechet_distance(*(rows.flatten(0, -2) for rows in self._sets()))

    def interval(
        self, level: float = 0.95, replicates: int = REPLICATES, seed: int = 0
    ) -> Interval | None:
        """See `Figure.interval`."""
        sets = self._sets()
        if min(map(len, sets)) < 2 or sets[0].shape[-1] > MOST_FEATURES:
            return None

        videos, truth = sets
        true_ids, _ = gathered(self.true_ids, self.true_rows)
        _, owners = gathered(self.ids, self.owners)
        place = torch.searchsorted(true_ids, owners)

        def redrawn(generator: torch.Generator) -> Tensor:
            drawn = resample(len(truth), generator)
            times = drawn.bincount(minlength=len(truth))
            theirs = videos.repeat_interleave(times[place], dim=0)
            return frechet_distance(theirs.flatten(0, -2), truth[drawn].flatten(0, -2))

        point = frechet_distance(*(rows.flatten(0, -2) for rows in sets))
        low, high = normal_interval(point, redrawn, level, replicates, seed)
        return max(low, 0.0), high

    def warning(self, count: int) -> str | None:
        """See `Figure.warning`."""
        if count < 2:
            return f"{self.name}: needs at least 2 videos and 2 true clips, not {count}"
        per_video = self.rows[0][0].numel() if self.rows else 0
        dimension = self.rows[0].shape[-1] if self.rows else 0
        true_ids, _ = gathered(self.true_ids, self.true_ids)
        samples = min(count, len(true_ids)) * per_video // max(dimension, 1)  # of the smaller set
        if samples > dimension:
            return None
        return (
            f"{self.name}: {samples} samples of {dimension} features; the covariance is not of "
            "full rank and the distance far too large: compare it with that of as many samples only"
        )

    def protocol(self) -> Protocol:
        """See `Figure.protocol`."""
        return super().protocol() | self.extractor.protocol()

    def _sets(self) -> tuple[Tensor, Tensor]:
        """Features of the videos `(N, ..., D)` and of the true clips `(M, ..., D)`, in float64."""
        _, rows = self.table()
        _, true_rows = gathered(self.true_ids, self.true_rows)
        return rows, true_rows.double()


class FVD(FrechetDistance):
    """Fréchet video distance (Unterthiner et al. 2018).

    Args:
        path: to the I3D; see `I3D`. Null makes the figure unavailable.
        frames: how many it sees; see `I3D`.
    """

    def __init__(self, path: str | None = None, frames: int | None = None) -> None:
        super().__init__(I3D(path, frames), "FVD")


class FID(FrechetDistance):
    """Fréchet inception distance (Heusel et al. 2017) between frames.

    Args:
        path: to the weights of Inception; see `InceptionV3`.
        frames: how many a video; see `InceptionV3`.
    """

    def __init__(self, path: str | None = None, frames: int = 4) -> None:
        super().__init__(InceptionV3(path, frames), "FID")


class EmbeddedVideoDistance(FrechetDistance):
    """Fréchet distance over `EmbeddedVideoFeatures`: not FVD, but needs nothing.

    It says which of two sets made of the same clips is nearer to the truth, in one protocol; the
    number itself means nothing.
    """

    def __init__(self) -> None:
        super().__init__(EmbeddedVideoFeatures(), "embedded video distance")
