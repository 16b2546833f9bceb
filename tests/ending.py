"""Callbacks that end a run in the middle, once a step is done and before it is saved."""

import os
import signal
import sys

import lightning as L
import torch


class ExitAt(L.Callback):
    """Ends the command with status 9.

    Args:
        step: counted from 1.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def end(self):
        sys.exit(9)

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            self.end()


class RunOutAt(ExitAt):
    """Asks for more memory than there is."""

    def end(self):
        torch.empty(2**50)


class KillAt(ExitAt):
    """Kills the process, as a power cut would."""

    def end(self):
        os.kill(os.getpid(), signal.SIGKILL)
