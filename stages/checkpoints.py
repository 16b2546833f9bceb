"""How checkpoints reach the disk: whole or not at all, the last step among them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from movideo.errors import UserError
from movideo.storage.atomic import whole_file


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's, but a checkpoint takes its name only once it is whole and on the disk.

    What had the name before stays until then, whatever ends the program or the machine. Nothing in
    a checkpoint that is read is executed, and it names no file to be removed but its neighbours.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Writes beside the file, waits for the disk, renames.

        Raises:
            UserError: the disk is full, or another reason why it cannot be written.
        """
        if "://" in str(path):  # no file system of this machine; fsspec's own ways hold there
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            try:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            except (OSError, RuntimeError) as error:  # torch wraps what the file says
                raise UserError(
                    f"{path}: the checkpoint cannot be written ({_reason(error)}); make room, "
                    "then go on from the one before with --ckpt_path auto"
                ) from error
        _sync_folder(Path(path).parent)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint as if `weights_only` were always true.

        Raises:
            UserError: it is damaged, or holds more than tensors and plain values.
        """
        try:
            checkpoint: dict[str, Any] = super().load_checkpoint(path, map_location, True)
        except Exception as error:  # torch raises many kinds for a file that is not its own
            raise UserError(
                f"{path}: not a checkpoint; give the .ckpt file of an earlier run"
            ) from error
        for state in checkpoint.get("callbacks", {}).values():
            _forget_other_places(state)
        return checkpoint


class StepCheckpoint(ModelCheckpoint):
    """Lightning's, but a run that ends between two saves is saved as it ends.

    A run that goes on in its folder replaces the `last.ckpt` there, from whichever checkpoint: what
    is told to use that file must not be left with one that was damaged.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's first checkpoint of a run knows of no last one."""
        super().load_state_dict(state_dict)
        if self.dirpath == state_dict.get("dirpath") and not self.last_model_path:
            self.last_model_path = self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning does this only for a run that was never saved."""
        if self._should_skip_saving_checkpoint(trainer):
            return
        # A run that goes on counts one step more: it takes each checkpoint for one that was saved
        # before its step was counted. This one comes after, and loggers would miss a step.
        loop = trainer.fit_loop.epoch_loop
        loop._batches_that_stepped -= 1
        try:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        finally:
            loop._batches_that_stepped += 1


def _forget_other_places(state: dict[str, Any]) -> None:
    """Takes what does not lie below its `dirpath` from the state of a `ModelCheckpoint`.

    As a run goes on it removes, folders too, what its checkpoint names as the one before.
    """
    folder = os.path.normpath(str(state.get("dirpath"))) + os.sep

    def kept(path: str) -> str:
        is_local = "::" not in path and "://" not in path  # fsspec's ways to name other systems
        plain = os.path.normpath(path)  # Lightning overlooks `..`
        return plain if is_local and plain.startswith(folder) else ""

    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        if name in state:
            state[name] = kept(str(state[name]))
    if "best_k_models" in state:
        scores = {kept(str(path)): score for path, score in state["best_k_models"].items()}
        state["best_k_models"] = {path: score for path, score in scores.items() if path}


def _reason(error: BaseException) -> str:
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return " ".join(str(error).split())


def _sync_folder(folder: Path) -> None:
    """Waits until the disk knows the new name too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
