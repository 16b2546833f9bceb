"""Means over clips that do not depend on who measured them.

Several processes get clips in equal numbers, so that some clips come twice, and the last batch may
be smaller: a mean of batches would depend on both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from movideo.processes import all_gather_objects


class ClipMeans:
    """Values of clips by name; each clip counts once, and NaN not at all."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, float]] = {}

    def add(self, names: Sequence[str], values: Mapping[str, Tensor]) -> None:
        """Takes in some clips.

        Args:
            names: one a clip.
            values: by what is measured, `(B,)`.
        """
        for key, column in values.items():
            self._values.setdefault(key, {}).update(
                zip(names, column.detach().double().tolist(), strict=True)
            )

    def compute(self) -> dict[str, Tensor]:
        """The means of all processes' clips, and forgets them; each process has to call this."""
        everyones = all_gather_objects(self._values)
        self._values = {}
        means = {}
        for key in sorted({key for theirs in everyones for key in theirs}):
            by_name = {n: v for theirs in everyones for n, v in theirs.get(key, {}).items()}
            known = [by_name[name] for name in sorted(by_name) if not math.isnan(by_name[name])]
            mean = math.fsum(known) / len(known) if known else math.nan
            means[key] = torch.tensor(mean)
        return means
