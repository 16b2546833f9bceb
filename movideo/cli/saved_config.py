"""The options of a run, kept in its log folder as `config.yaml`."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback


class SaveConfig(SaveConfigCallback):
    """Lightning's, but for `fit` after the first step.

    Without a logger there is no folder of the run, and nothing is kept.

    By then nothing refuses the options any more: a run that does not come to train must not
    overwrite those of the one that it was to go on from.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Saves, unless training is still to begin."""
        if stage != "fit" and trainer.loggers:
            super().setup(trainer, pl_module, stage)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves once, before any checkpoint."""
        if trainer.loggers:
            super().setup(trainer, pl_module, "fit")
