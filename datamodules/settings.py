"""The settings of `VideoClipDataModule` by subject, as the YAML groups them."""

from __future__ import annotations

from dataclasses import dataclass, field

from movideo.clips.augment import Augmentation
from movideo.clips.key_places import KeyFramePlaces
from movideo.errors import check_ranges
from movideo.estimators import DepthEstimator, FlowEstimator


@dataclass(frozen=True)
class LabelSettings:
    """Where the depth and flow of clips come from.

    Attributes:
        enabled: False leaves depth and flow out (stage 0 needs none).
        depth_estimator: estimates missing depth; `ParallaxDepth` by default.
        flow_estimator: estimates missing flow; by default `DISFlow`, which takes less than 0.3
            pixels for its own noise, so that a still camera's clips come out still.
        grid: `(h, w)` that new labels are stored on, the clip's own size by default.
    """

    enabled: bool = True
    depth_estimator: DepthEstimator | None = None
    flow_estimator: FlowEstimator | None = None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """What is done to training clips alone: what is measured has one shape and true colours.

    Attributes:
        buckets: further shapes `(num_frames, H, W)`, at most as long as the default; each clip gets
            the one nearest to its video's aspect.
        exact_colours: False reads videos that need no resizing faster, their colours less exactly
            (see `movideo.video.read.read_pixels`).
        augmentations: changes to clips, in this order.
        key_frames: where the key frames of training clips stand, unless `data.key_index` says it;
            elsewhere in the centre.
        fresh_scenes: render a new scene for every place of every epoch, where scenes are trained
            on, instead of reading those that lie on disk again and again.
    """

    buckets: list[tuple[int, int, int]] = field(default_factory=list)
    exact_colours: bool = True
    augmentations: list[Augmentation] = field(default_factory=list)
    key_frames: KeyFramePlaces = field(default_factory=KeyFramePlaces)
    fresh_scenes: bool = False


@dataclass(frozen=True)
class SplitSettings:
    """Which share of the videos is kept from training; the same videos for the same seed.

    Attributes:
        val: for validation.
        test: for testing, when `videos` are given.

    Raises:
        UserError: a share is out of range.
    """

    val: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        ranges = {name: (0 <= value <= 1, "0 to 1") for name, value in vars(self).items()}
        check_ranges("data.split.{}", vars(self), ranges)
