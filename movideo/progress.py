"""How far a long command is: a bar on a terminal, elsewhere a line of plain text every minute."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

INTERVAL = "MOVIDEO_PROGRESS_SECONDS"
"""Environment variable: seconds between two lines, 60 where it is not set."""


def seconds_between_lines() -> float:
    """How long a log file stays silent."""
    return float(os.environ.get(INTERVAL, 60))


def on_terminal() -> bool:
    """Whether somebody watches; `nohup`, `srun` and CI send output to a file."""
    return sys.stderr.isatty()


class Progress(tqdm):  # type: ignore[type-arg]
    """tqdm's bar, which in a log file becomes lines such as `making labels: 30/200 clip, ...`.

    Nothing is shown in the first seconds, so that short work stays silent.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.writes_lines = not on_terminal()
        if self.writes_lines:
            seconds = seconds_between_lines()
            # maxinterval is how often tqdm's monitor would force the bar to be drawn
            options |= {"delay": seconds, "mininterval": seconds, "maxinterval": seconds + 1}
            options |= {"miniters": 1, "leave": False, "bar_format": _line(options)}
        super().__init__(*args, **{"delay": 2, **options})

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Writes the line in the place of the one before, or below it."""
        if on_terminal():
            replace: Callable[[str], None] = tqdm.status_printer(file)
            return replace

        def append(line: str) -> None:
            if line:  # tqdm clears a bar by an empty one
                file.write(f"{line}\n")
                file.flush()

        return append

    def close(self) -> None:
        """Takes the bar away; from a file nothing can be taken away."""
        if self.writes_lines:
            self.delay = math.inf  # to tqdm nothing was shown
        super().close()


def _line(options: dict[str, Any]) -> str:
    unit = options.get("unit", "step")
    return f"{{desc}}: {{n_fmt}}/{{total_fmt}} {unit}s, {{rate_fmt}}, {{remaining}} left"
