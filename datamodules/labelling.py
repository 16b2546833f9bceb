"""The labels of the clips that a data module reads: what makes them, and where they are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from movideo.errors import UserError
from movideo.estimators import DepthEstimator, FlowEstimator
from movideo.labels import label_settings, missing_clips, precompute_labels
from movideo.video.clips import Clip
from movideo.video.labels.folder import labelled_otherwise
from movideo.video.labels.store import LabelStore
from movideo.video.scene_files import LABELS


@dataclass(frozen=True)
class Labelling:
    """Labels that stand in folders of videos, and those that are made for the others.

    Attributes:
        data_dir: where labels are made.
        videos: folders that may hold labels of their own; they come first.
        depth_estimator: makes depth labels.
        flow_estimator: makes flow labels.
        grid: `(h, w)` that new labels are stored on, the clip's own size where None.
    """

    data_dir: Path
    videos: Sequence[str]
    depth_estimator: DepthEstimator
    flow_estimator: FlowEstimator
    grid: tuple[int, int] | None

    @property
    def settings(self) -> dict[str, Any]:
        """What new labels depend on besides their clip."""
        return label_settings(self.depth_estimator, self.flow_estimator, self.grid)

    @property
    def directory(self) -> Path:
        """Where new labels go: a folder of their own for each choice of estimators."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        return self.data_dir / LABELS / digest[:8]

    def store(self) -> LabelStore:
        """All labels that there are."""
        return LabelStore(*self._given(), self.directory)

    def check_all_made(self, clips: Sequence[Clip], store: LabelStore) -> None:
        """Refuses clips that nobody has tried to label yet.

        Raises:
            UserError: there are such clips.
        """
        missing = missing_clips(clips, store)
        if not missing:
            return
        others = labelled_otherwise(self.directory, self.settings, missing)
        raise UserError(
            f"{self.directory}: {len(missing)} of {len(clips)} clips have no labels"
            f"{'' if others is None else f' ({others})'}; "
            "make them first with: movideo precompute --config YOUR_CONFIG"
        )

    def make(self, clips: Sequence[Clip], rank: int = 0, world_size: int = 1) -> dict[str, str]:
        """Estimates the labels that are missing, this rank's share of them.

        Returns:
            The reason for each clip that failed, by its key.
        """
        return precompute_labels(
            clips,
            self.directory,
            self.depth_estimator,
            self.flow_estimator,
            rank=rank,
            world_size=world_size,
            grid=self.grid,
            device="cuda" if torch.cuda.is_available() else "cpu",
            known=LabelStore(*self._given()),
        )

    def _given(self) -> list[Path]:
        return [Path(folder) / LABELS for folder in self.videos]
