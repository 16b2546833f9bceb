"""Which clips a test has measured."""

from __future__ import annotations

from typing import Any

import lightning as L

from movideo.processes import all_gather_objects


class SeenClips(L.Callback):
    """Collects the names of all processes' clips.

    Attributes:
        names: complete once the test has ended.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Notes the names of a batch."""
        self.names |= set(batch["name"])

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Brings the names of all processes together."""
        self.names = set().union(*all_gather_objects(self.names))
