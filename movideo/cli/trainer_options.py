"""Options of Lightning's trainer that our stages, or our own callbacks, cannot do with.

Each is settled before a clip is read: by leaving out a default of ours that the user's flag
excludes, or in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)

from movideo.errors import UserError

_OURS_WITHOUT: dict[str, Callable[[Any], bool]] = {
    "lightning.pytorch.callbacks.LearningRateMonitor": lambda trainer: trainer["logger"] is False,
    "stages.checkpoints.StepCheckpoint": lambda trainer: trainer["enable_checkpointing"] is False,
}
"""Callbacks of `base/trainer.yaml`, and the flags under which Lightning refuses them."""

_REFUSED: dict[type[Callback], str] = {
    LearningRateFinder: "a stage has a rate for each group of its parameters; "
    "set model.optimizer.lr yourself",
    BatchSizeFinder: "batches are drawn for a fixed size; set data.batch_size yourself",
    StochasticWeightAveraging: "a stage keeps an average of its weights itself; "
    "set model.ema_decay",
}


def yield_to_flags(trainer: Any) -> None:
    """Leaves our default callbacks out where a flag of the user's excludes them.

    Args:
        trainer: the options of a trainer; changed here.
    """
    callbacks = trainer["callbacks"]
    if isinstance(callbacks, list):
        trainer["callbacks"] = [
            callback
            for callback in callbacks
            if not _OURS_WITHOUT.get(callback["class_path"], lambda _: False)(trainer)
        ]


def check_trainer(trainer: Trainer, model: LightningModule) -> None:
    """Refuses what Lightning would refuse later, in terms of its API, or not at all.

    Raises:
        UserError: names the option and what to do instead.
    """
    batches, norm = trainer.accumulate_grad_batches, trainer.gradient_clip_val
    if batches < 1:
        raise UserError(f"trainer.accumulate_grad_batches: {batches}; give 1 or more")
    if str(trainer.precision).endswith("-true") and trainer.precision != "32-true":
        kind = str(trainer.precision).removesuffix("-true")
        instead = f"{kind}-mixed" if kind in ("16", "bf16") else "32"
        raise UserError(
            f"trainer.precision: {trainer.precision}, and weights, losses and clips are float32; "
            f"give {instead}"
        )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for kind_of_callback, why in _REFUSED.items():
            if isinstance(callback, kind_of_callback):
                raise UserError(f"trainer.callbacks: {kind_of_callback.__name__}; {why}")
    if model.automatic_optimization:
        return
    scheduled = [
        callback.scheduling
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler)
    ]
    for option, value, is_set, instead in (
        ("accumulate_grad_batches", batches, batches > 1, "micro_batch_size"),
        ("gradient_clip_val", norm, bool(norm), "gradient_clip_val"),
        ("callbacks", f"accumulation {scheduled}", bool(scheduled), "micro_batch_size"),
    ):
        if is_set:
            raise UserError(
                f"trainer.{option}: {value}, but this stage optimises two networks in turns; "
                f"set model.{instead} instead"
            )
