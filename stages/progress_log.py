"""Lines about a run in a log file, where no progress bar can be watched."""

from __future__ import annotations

from time import monotonic
from typing import Any

import lightning as L
from tqdm import tqdm

from movideo.progress import on_terminal, seconds_between_lines


class ProgressLog(L.Callback):
    """Prints a line every minute: step or batch, loss, clips a second, time left.

    It counts the clips of all processes, and only the first process prints. On a terminal it is
    silent, for Lightning's progress bar says the same.
    """

    def __init__(self) -> None:
        self._clips = self._steps = 0
        self._started = self._printed = 0.0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Starts the clock; preparing data is over."""
        self._clips = self._steps = 0
        self._started = self._printed = monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Counts a training batch."""
        loss = trainer.callback_metrics.get("train/loss")
        words = [] if loss is None else [f"loss {float(loss):.4g}"]
        total = trainer.estimated_stepping_batches
        self._count(trainer, batch, "step", trainer.global_step, total, words)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts a validation batch; those within a training run are short."""
        if trainer.validating:
            self._count_batch(trainer, batch, batch_idx, trainer.num_val_batches)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts a test batch."""
        self._count_batch(trainer, batch, batch_idx, trainer.num_test_batches)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts a batch of videos made."""
        self._count_batch(trainer, batch, batch_idx, trainer.num_predict_batches)

    def _count_batch(
        self, trainer: L.Trainer, batch: Any, index: int, totals: list[int | float]
    ) -> None:
        self._count(trainer, batch, "batch", index + 1, sum(totals), [])

    def _count(
        self,
        trainer: L.Trainer,
        batch: Any,
        unit: str,
        done: int,
        total: int | float,
        words: list[str],
    ) -> None:
        now = monotonic()
        self._clips += len(batch["name"]) * trainer.world_size
        self._steps += 1
        silent = now - self._printed < seconds_between_lines()
        if silent or on_terminal() or not trainer.is_global_zero:
            return
        self._printed = now
        elapsed = now - self._started
        left = elapsed / self._steps * (total - done) * trainer.accumulate_grad_batches
        known = total != float("inf")
        line = [
            f"{unit} {done}{f'/{total:.0f}' if known else ''}",
            *words,
            f"{self._clips / elapsed:.2f} clips/s",
            *([f"{tqdm.format_interval(left)} left"] if known else []),
        ]
        print(", ".join(line), flush=True)
