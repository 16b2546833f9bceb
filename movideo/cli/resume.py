"""`--ckpt_path auto` and `last`: where a run goes on, or which of its checkpoints is measured."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from movideo.errors import UserError
from movideo.hub.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

AUTO, LAST = "auto", "last"
_UNTOLD = ("best", "hpc", "registry")
"""Words of Lightning's that only the process understands in which a run was trained."""

_IN_RUN = "checkpoints"  # where Lightning keeps them, in the folder of a run


def resolve(config: Any, command: str) -> None:
    """Puts a file in the place of a word as `ckpt_path`; `auto` becomes nothing if there is none.

    `auto` is the furthest whole checkpoint of the run's newest version, `last` that of those which
    are called so. The run is all versions of the (first) logger's `save_dir/name`, or the one
    version that is given. In training, the version that wrote the checkpoint is gone on with.

    Args:
        config: a command's, with `trainer` and `ckpt_path`; changed here.
        command: `fit`, `validate`, `test` or `predict`.

    Raises:
        UserError: there is no telling which folder it is; all checkpoints in it are damaged; there
            is none for `last`; or the word means nothing here.
    """
    word = config.get("ckpt_path")
    if word in _UNTOLD:
        raise UserError(
            f"ckpt_path: {word} means nothing in a new process; name the file, "
            "or give last for the newest of the run"
        )
    if word == AUTO and command != "fit":
        raise UserError("ckpt_path: auto is for fit; name the checkpoint")
    if word not in (AUTO, LAST):
        return
    run_logger = _first(config["trainer"]["logger"])
    run, version = _run_folder(run_logger, word)
    for callback in _listed(config["trainer"]["callbacks"]):
        if (callback.get("init_args") or {}).get("dirpath"):
            raise UserError(
                f"ckpt_path: {word} looks in {run}, and trainer.callbacks has a dirpath of its "
                "own; leave that out, or name the checkpoint"
            )
    found = newest_whole(run, _checkpoints(run, version, "last" if word == LAST else ""))
    if found is None and word == LAST:
        raise UserError(f"ckpt_path: last, and there is none in {run}; name the checkpoint")
    config["ckpt_path"] = None if found is None else str(found)
    if found is None:
        logger.info("%s: no checkpoint yet; the run starts", run)
    elif version is None and command == "fit":
        run_logger["init_args"]["version"] = found.relative_to(run).parts[0]


def _checkpoints(run: Path, version: str | int | None, begins: str) -> Iterator[Path]:
    """All of a run; a name with a metric in it may have made folders of its slashes."""
    versions = os.listdir(run) if version is None and run.is_dir() else [_folder_name(version)]
    for name in versions:
        for folder, _, files in os.walk(run / name / _IN_RUN):
            for file in files:
                if file.endswith(".ckpt") and file.startswith(begins) and file[0] != ".":
                    yield Path(folder, file)


def newest_whole(run: Path, paths: Iterable[Path]) -> Path | None:
    """The checkpoint to go on from: the furthest of the version that was written to last.

    Files that were copied are all as old as their copies: within a version the training step tells
    which is newer, and the time only between two of one step. Those that cannot be read are named
    in a warning.

    Args:
        run: the folder of the versions.
        paths: checkpoints in it.

    Raises:
        UserError: there are some, and none can be read.
    """
    versions: dict[str, list[Path]] = {}
    for path in paths:
        versions.setdefault(path.relative_to(run).parts[0], []).append(path)
    damaged: list[str] = []
    for files in sorted(versions.values(), key=lambda files: max(map(_time, files)), reverse=True):
        steps: dict[Path, int] = {}
        for path in files:
            try:
                steps[path] = Checkpoint.read(path).step
            except UserError as error:
                damaged.append(str(error))
        if steps:
            for reason in damaged:
                logger.warning("%s; an older one is taken", reason)
            return max(steps, key=lambda path: (steps[path], _time(path)))
    if versions:
        raise UserError(f"{run}: no checkpoint there can be read; remove the folder to start anew")
    return None


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def _first(loggers: Any) -> Any:
    """Lightning keeps a run where the first of several loggers says."""
    return _listed(loggers)[0] if loggers and not isinstance(loggers, bool) else None


def _listed(value: Any) -> list[Any]:
    """What may be given alone or in a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _run_folder(run_logger: Any, word: str) -> tuple[Path, str | int | None]:
    """The folder of a run's versions, and the version if one is given."""
    try:
        place = run_logger["init_args"]
        return Path(place["save_dir"]) / (place["name"] or ""), place["version"]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"ckpt_path: {word} looks where a TensorBoardLogger or CSVLogger writes, and "
            "trainer.logger is none; name the checkpoint"
        ) from error


def _folder_name(version: str | int | None) -> str:
    return version if isinstance(version, str) else f"version_{version}"
