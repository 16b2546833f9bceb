"""`--ckpt_path auto`: where a run goes on, whether it was started before or not."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from movideo.errors import UserError
from movideo.hub.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

AUTO = "auto"
_IN_RUN = "checkpoints"  # where Lightning keeps them, in the folder of a run


def resolve_auto(config: Any) -> None:
    """Puts the newest whole checkpoint of a run in the place of `auto`, or nothing if it has none.

    The run is all versions of the logger's `save_dir/name`, or the one version that is given. The
    version that wrote the checkpoint is gone on with.

    Args:
        config: a command's, with `trainer` and `ckpt_path`; changed here.

    Raises:
        UserError: there is no telling which folder it is; all checkpoints in it are damaged.
    """
    run, version = _run_folder(config["trainer"]["logger"])
    for callback in config["trainer"]["callbacks"] or ():
        if callback.get("init_args", {}).get("dirpath"):
            raise UserError(
                f"ckpt_path: auto looks in {run}, and trainer.callbacks has a dirpath of its own; "
                "leave that out, or name the checkpoint"
            )
    pattern = f"{'*' if version is None else _folder_name(version)}/{_IN_RUN}/*.ckpt"
    found = newest_whole(path for path in run.glob(pattern) if not path.name.startswith("."))
    config["ckpt_path"] = None if found is None else str(found)
    if found is None:
        logger.info("%s: no checkpoint yet; the run starts", run)
    elif version is None:
        config["trainer"]["logger"]["init_args"]["version"] = found.parent.parent.name


def newest_whole(paths: Iterable[Path]) -> Path | None:
    """The newest checkpoint that can be read; each newer one is named in a warning.

    Raises:
        UserError: there are some, and none can be read.
    """
    newest_first = sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    damaged: list[str] = []
    for path in newest_first:
        try:
            Checkpoint.read(path)
        except UserError as error:
            damaged.append(str(error))
        else:
            for reason in damaged:
                logger.warning("%s; an older one is taken", reason)
            return path
    if newest_first:
        raise UserError(
            f"{newest_first[0].parent}: no checkpoint there can be read; "
            "remove the folder to start anew"
        )
    return None


def _run_folder(run_logger: Any) -> tuple[Path, str | int | None]:
    """The folder of a run's versions, and the version if one is given."""
    try:
        place = run_logger["init_args"]
        return Path(place["save_dir"]) / (place["name"] or ""), place["version"]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "ckpt_path: auto looks where one TensorBoardLogger or CSVLogger writes, and "
            "trainer.logger is none; name the checkpoint"
        ) from error


def _folder_name(version: str | int) -> str:
    return version if isinstance(version, str) else f"version_{version}"
