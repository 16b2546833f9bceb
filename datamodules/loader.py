"""A data loader that goes on where a checkpoint was saved, in the middle of an epoch too."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Iterator
from multiprocessing import active_children
from typing import Any

from torch.utils.data import DataLoader, Dataset

from datamodules.sampler import PlaceSampler


class ResumableLoader(DataLoader[dict[str, Any]]):
    """A DataLoader whose state says how much of the epoch it has given out.

    Lightning keeps the state in its checkpoints. What workers have read ahead does not count: they
    read it again, or other workers do. Clips that are passed over are not read.

    A pass begins when its first batch is asked for, not with `iter`: Lightning calls that before it
    tells the sampler the epoch.

    Args:
        dataset: takes a `Place`.
        sampler: gives this rank its places.
        **options: as for DataLoader.
    """

    def __init__(self, dataset: Dataset[Any], sampler: PlaceSampler, **options: Any) -> None:
        self._places = sampler
        self._state = {"epoch": 0, "clips": 0}
        self._is_loaded = False
        share = sampler.order.batch_size // sampler.num_replicas
        super().__init__(dataset, batch_size=share, sampler=sampler, drop_last=True, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names a class of its own
        epoch, size = self._places.epoch, self._places.order.batch_size
        goes_on = self._is_loaded and self._state["epoch"] == epoch
        first = self._state["clips"] // size if goes_on else 0
        self._is_loaded = False
        self._places.skipped = first
        for number, batch in enumerate(super().__iter__(), start=first):
            self._state = {"epoch": epoch, "clips": (number + 1) * size}
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch of the last pass, and how many clips it has given to all ranks together."""
        return dict(self._state)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Makes the next pass go on there, if it is one through the same epoch."""
        self._state = dict(state_dict)
        self._is_loaded = True


def worker_options(count: int, processes: int) -> dict[str, Any]:
    """Arguments of a `DataLoader` that say how its workers are started.

    Beside other processes they are started anew and not forked: of a process with the threads of
    gloo or NCCL a fork may never come to life (seen with Python 3.11: one of those threads held a
    lock of the interpreter's), and all processes would wait for it.

    Args:
        count: of workers.
        processes: of the run.
    """
    return {
        "num_workers": count,
        "worker_init_fn": leave_stopping_to_the_run,
        "multiprocessing_context": "spawn" if count and processes > 1 else None,
    }


def leave_stopping_to_the_run(_worker: int) -> None:
    """Makes a worker deaf to the signals that tell a run to stop: they come to all its processes.

    A worker that ends takes the run with it, before that could save. Workers end when it does.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    """Ends workers that still read: Python waits for them, and its SIGTERM does not end them."""
    for worker in active_children():
        if worker.daemon:
            worker.kill()
