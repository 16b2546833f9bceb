"""The folders and files that clips are drawn from, and how much of an epoch each gets."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from datamodules.epoch_order import Indices
from movideo.clips.clip import Clip, ClipSettings
from movideo.clips.index import index_clips
from movideo.errors import UserError


@dataclass(frozen=True)
class ClipSources:
    """Named sources of clips.

    Attributes:
        videos: a folder, a video file or a list of either kind; several of these; or a mapping to
            the number of clips per video.
        weights: the share of each source in an epoch, in any unit; None takes each clip once.
        allow_outside: let lists name videos that do not lie below their own folder.

    Raises:
        UserError: the weights are not of these sources, or not above 0.
    """

    videos: str | list[str] | dict[str, int]
    weights: dict[str, float] | None = None
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        for name in (*self.names, *self.weights):
            if name not in self.weights:
                raise UserError(f"data.weights: nothing for {name}; give every source a weight")
            if name not in self.names:
                raise UserError(f"data.weights: {name} is not among data.videos; name it there too")
            if not 0 < self.weights[name] < float("inf"):
                raise UserError(
                    f"data.weights: {self.weights[name]:g} for {name}; "
                    "a weight is above 0, leave the source out of data.videos instead"
                )

    @property
    def names(self) -> list[str]:
        """In the order given."""
        return [self.videos] if isinstance(self.videos, str) else list(self.videos)

    @property
    def folders(self) -> list[str]:
        """The folder of each: itself, or the one that a file or a list lies in."""
        return [os.path.dirname(name) if os.path.isfile(name) else name for name in self.names]

    @property
    def weight_list(self) -> list[float] | None:
        """The weights in the order of the names."""
        return None if self.weights is None else [self.weights[name] for name in self.names]

    def check_counts(self, sources: Indices) -> None:
        """Refuses weights that cannot be kept.

        Args:
            sources: the number of the source of each training clip.

        Raises:
            UserError: a source with a weight has no training clips.
        """
        counts = np.bincount(sources, minlength=len(self.names))
        for name, count in zip(self.names, counts, strict=True):
            if self.weights is not None and not count:
                raise UserError(
                    f"data.weights: no clip of {name} is left for training; "
                    "give it more videos or lower data.split.val and data.split.test"
                )

    def draw(self, settings: ClipSettings) -> list[list[Clip]]:
        """The clips of each source."""
        return [
            index_clips(name, self._settings_of(name, settings), self.allow_outside).clips
            for name in self.names
        ]

    def _settings_of(self, name: str, settings: ClipSettings) -> ClipSettings:
        if isinstance(self.videos, dict):
            return replace(settings, clips_per_video=self.videos[name])
        return settings
