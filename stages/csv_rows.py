"""Rows of a CSV log that a run wrote before it was stopped: they stay when it goes on."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only


@rank_zero_only
def keep_rows(loggers: Iterable[Logger]) -> None:
    """Has CSV loggers append to the file that is there; Lightning's own would remove it.

    Args:
        loggers: of a run that goes on in its folder, before they have written anything.
    """
    for logger in loggers:
        if not isinstance(logger, CSVLogger):
            continue
        path = Path(logger.log_dir, "metrics.csv")
        if not path.is_file():
            continue
        aside = path.with_name(".metrics.csv.kept")
        path.replace(aside)
        writer = logger.experiment  # making it removes what has the file's name
        aside.replace(path)
        with open(path, newline="", encoding="utf-8") as file:
            writer.metrics_keys = next(csv.reader(file), [])
