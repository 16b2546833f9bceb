"""A callback that keeps a run of tiny steps busy for as long as SLURM needs to look at it."""

import time

import lightning as L


class Pause(L.Callback):
    """Waits before every step."""

    def on_train_batch_start(self, *args):
        time.sleep(0.6)
