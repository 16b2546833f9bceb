"""Ending a run that is told to stop: after the step it is in, with a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info


class _Asked(IntEnum):
    """What a process was told; of several the greatest holds."""

    NOTHING = 0
    STOP = 1
    COME_AGAIN = 2


ASKED_BY = {signal.SIGTERM: _Asked.STOP, signal.SIGUSR1: _Asked.COME_AGAIN}
EXIT_STATUS = {
    _Asked.STOP: 128 + signal.SIGTERM,  # as shells report it
    _Asked.COME_AGAIN: os.EX_TEMPFAIL,  # 75; what runs the job shall run it again
}


class StopWithCheckpoint(L.Callback):
    """On SIGUSR1 or SIGTERM saves `last.ckpt` when the optimiser has stepped, and ends the run.

    The process then exits with status 75 after SIGUSR1 and 143 after SIGTERM. All processes save
    after the same step, whichever of them were told, and what that step logs is still written.

    This takes the place of Lightning's own handlers, which act in the midst of a step: what they
    save is half of one, and a process that is told waits for the others, which may not be.
    """

    def __init__(self) -> None:
        self._asked = _Asked.NOTHING
        self._agreed = _Asked.NOTHING
        self._step = -1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Listens in Lightning's place before training starts: its own would hang there."""
        trainer._signal_connector._sigterm_notifier_fn = self._note  # type: ignore[assignment, method-assign]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listens. Lightning puts back the handlers that were there when it tears down."""
        for number in ASKED_BY:
            signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._asked = max(self._asked, ASKED_BY[signal.Signals(number)])

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Ends the run where the step before was saved.

        Raises:
            SystemExit: with the status that says why.
        """
        if self._agreed:
            sys.exit(EXIT_STATUS[self._agreed])
        self._step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves, if any process was told to stop and the gradients accumulated are used up."""
        if trainer.global_step == self._step:
            return
        self._agreed = self._agree(trainer)
        checkpoints = trainer.checkpoint_callback
        if self._agreed and isinstance(checkpoints, ModelCheckpoint) and checkpoints.dirpath:
            path = Path(checkpoints.dirpath) / f"{checkpoints.CHECKPOINT_NAME_LAST}.ckpt"
            checkpoints.last_model_path = str(path)  # or it would write a second one beside it
            trainer.save_checkpoint(path, weights_only=False)
            rank_zero_info(f"told to stop: saved step {trainer.global_step} as {path}")

    def _agree(self, trainer: L.Trainer) -> _Asked:
        if trainer.world_size == 1:
            return self._asked  # without waiting for the device
        asked = torch.tensor(self._asked.value, device=trainer.strategy.root_device)
        return _Asked(int(trainer.strategy.reduce(asked, reduce_op="max")))
