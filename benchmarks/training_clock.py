"""What training costs a clip, as a callback that imports nothing from here: any tree runs it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import lightning as L
from typing_extensions import override

WARM_UP = 10
MARK = "measured: "


class Clock(L.Callback):
    """Prints, when training ends, seconds a clip: of the clock, of this process and its workers.

    After them the seconds of the first step, in which a compiler works.
    """

    def __init__(self) -> None:
        self.start: tuple[float, float, float] | None = None
        self.first = 0.0

    @override
    def on_train_start(self, *_: Any) -> None:
        """The first step begins."""
        self.first = -time.perf_counter()

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Starts after the warm-up."""
        batches = trainer.fit_loop.total_batch_idx + 1
        if batches == 1:
            self.first += time.perf_counter()
        if batches == WARM_UP:
            self.start = _clocks()
        elif batches == trainer.limit_train_batches:
            assert self.start is not None
            clips = (batches - WARM_UP) * trainer.datamodule.batch_size  # type: ignore[attr-defined]
            spent = [(b - a) / clips for a, b in zip(self.start, _clocks(), strict=True)]
            print(MARK + json.dumps([*spent, self.first]), flush=True)


def _clocks() -> tuple[float, float, float]:
    own = os.getpid()
    children = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    of_workers = sum(
        seconds for pid in children for parent, seconds in [_cpu(pid)] if parent == own
    )
    return time.perf_counter(), _cpu(own)[1], of_workers


def _cpu(pid: int) -> tuple[int, float]:
    """Parent and CPU seconds of a process; none of one that has just ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return 0, 0.0
    values = text.rpartition(")")[2].split()
    return int(values[1]), (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")
