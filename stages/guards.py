"""What watches over a training run: steps that would break the weights, and waiting for ever."""

from __future__ import annotations

import faulthandler
import json
import logging
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from movideo.errors import UserError
from movideo.processes import all_gather_objects
from movideo.storage.atomic import whole_file

logger = logging.getLogger(__name__)

SKIPPED_CLIPS = "skipped_clips.json"


class NonFiniteGuard(L.Callback):
    """Skips the steps whose loss or gradient is not finite, and ends a run of nothing else.

    A skipped step has no gradients: optimiser, weights and their average stay as they are, on all
    processes, while step number and schedule go on. With two optimisers each step is judged by its
    own gradient. `train/skipped_steps` counts them.

    Under float16 an overflow of the gradients alone is left to the loss scaler, which skips the
    step too and scales less.

    Args:
        patience: skipped steps in a row that end the run. Their clips are then written to
            `skipped_clips.json` beside the checkpoints.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise UserError(f"non_finite.patience: {patience}; give 1 or more")
        self.patience = patience
        self.skipped = 0
        self._in_a_row: list[dict[str, Any]] = []
        self._clips: list[str] = []  # of the step under way, over accumulated batches
        self._losses: list[Tensor] = []  # of the optimiser step under way
        self._stepped = self._is_bad = False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remembers the clips."""
        self._clips += batch["name"]

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """Remembers the loss; looking at it here would wait for the device."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Takes the gradients away if they or the losses are not finite, on all processes alike."""
        parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
        gradients = [p.grad for p in parameters if p.grad is not None]
        values, self._losses = self._losses, []
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            values = [*values, torch.nn.utils.get_total_norm(gradients)]
        is_finite = all(bool(value.isfinite()) for value in values)
        self._stepped = True
        if trainer.strategy.reduce_boolean_decision(is_finite, all=True):
            return
        self._is_bad = True
        optimizer.zero_grad(set_to_none=True)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts the step, and names its clips if it was skipped.

        Raises:
            UserError: the last `patience` steps were skipped.
        """
        if not self._stepped:  # an accumulated batch; its step is still to come
            return
        if self._is_bad:
            self._note(trainer)
        else:
            self._in_a_row.clear()
        self._clips, self._stepped, self._is_bad = [], False, False
        pl_module.log("train/skipped_steps", float(self.skipped), batch_size=1)
        if len(self._in_a_row) >= self.patience:
            self._end(trainer)

    def _note(self, trainer: L.Trainer) -> None:
        clips = list(chain.from_iterable(all_gather_objects(self._clips)))
        self.skipped += 1
        self._in_a_row.append({"step": trainer.global_step - 1, "clips": clips})
        if trainer.is_global_zero:
            logger.warning(
                "step %d: skipped, its loss or gradient is not finite; clips: %s",
                trainer.global_step - 1, ", ".join(clips),
            )  # fmt: skip

    def _end(self, trainer: L.Trainer) -> None:
        path = _run_folder(trainer) / SKIPPED_CLIPS
        if trainer.is_global_zero:
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(self._in_a_row, indent=2) + "\n", "utf-8")
        raise UserError(
            f"{self.patience} steps in a row: loss or gradient not finite; their clips are in "
            f"{path}; lower the learning rate, or look at those clips, then go on from the last "
            "checkpoint with --ckpt_path auto"
        )

    def state_dict(self) -> dict[str, Any]:
        """The count, and the steps in a row."""
        return {"skipped": self.skipped, "in_a_row": list(self._in_a_row)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self.skipped, self._in_a_row = state_dict["skipped"], list(state_dict["in_a_row"])


class StallGuard(L.Callback):
    """Ends a process that waits for ever: for a loader, a disk or another process.

    When nothing happens for too long, it prints where each thread of the process stands to stderr
    and exits with status 1. It needs nothing of Python to do so, whatever the process hangs in.

    Args:
        seconds: the longest that a batch, or writing a checkpoint, may take; null for any time.
    """

    def __init__(self, seconds: float | None = 1800.0) -> None:
        if seconds is not None and seconds <= 0:
            raise UserError(f"stall.seconds: {seconds}; give a number above 0, or null")
        self.seconds = seconds

    def _arm(self, *args: Any, **_: Any) -> None:
        if self.seconds is not None and args[0].state.fn == TrainerFn.FITTING:
            # Python's own copy: others replace `sys.stderr` by what has no file.
            faulthandler.dump_traceback_later(
                self.seconds, exit=True, file=sys.__stderr__ or sys.stderr
            )

    def _disarm(self, *_: Any, **__: Any) -> None:
        faulthandler.cancel_dump_traceback_later()

    on_train_start = on_train_batch_start = on_train_batch_end = _arm
    on_validation_batch_start = on_validation_batch_end = on_validation_end = _arm
    on_save_checkpoint = _arm
    on_fit_end = on_exception = teardown = _disarm


def _run_folder(trainer: L.Trainer) -> Path:
    """Where the checkpoints are, or the run has its other files."""
    callback = trainer.checkpoint_callback
    folder = callback.dirpath if isinstance(callback, ModelCheckpoint) else None
    return Path(folder or trainer.log_dir or trainer.default_root_dir)
