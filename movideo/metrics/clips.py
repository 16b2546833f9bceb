"""Videos as the metrics of a report see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from movideo.motion.space import Motion


@dataclass(frozen=True)
class MeasuredClips:
    """Some videos that one method made, beside what they are measured against.

    Attributes:
        names: one a sample, no two alike.
        video: `(B, F, 3, H, W)` RGB in [-1, 1], rounded to bytes as a file would be.
        fps: `(B,)` frames per second.
        key_index: `(B,)`.
        truth: the true clips, likewise rounded.
        references: the name of each true clip; several samples may share one.
        prompts: what each was made from.
        motion: the motion that the video was asked to have.
        true_motion: the true clips' by their labels, where they have any.
        shared: what was computed of the truth, once for all methods of a batch (see `once`).
    """

    names: list[str]
    video: Tensor
    fps: Tensor
    key_index: Tensor
    truth: Tensor | None = None
    references: list[str] | None = None
    prompts: list[str] | None = None
    motion: Motion | None = None
    true_motion: Motion | None = None
    shared: dict[object, Tensor] = field(default_factory=dict)

    def once(self, key: object, compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` gives; computed by the first method that asks under this key."""
        if key not in self.shared:
            self.shared[key] = compute()
        return self.shared[key]
