"""What every stage shares: parts, optimiser, weight average, checkpoint format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from movideo.clips.batch import ClipBatch
from movideo.errors import UserError
from movideo.hub.checkpoint import (
    FORMAT_VERSION,
    check,
    check_buildable,
    check_same,
    describe,
    load_strictly,
)
from movideo.hub.model_folder import starting_point
from movideo.hub.needs import WeightSpec
from movideo.hub.pretrained import PretrainedModule
from movideo.hub.weight_files import first_line
from movideo.models import VideoAutoencoder
from stages.clip_means import ClipMeans
from stages.ema import WeightAverage
from stages.randomness import seed_torch
from stages.resuming import ConfiguredOptimizers, describe_schedules
from stages.schedules import WarmupCosine

ParameterGroups = list[tuple[Iterator[nn.Parameter], float]]


class Stage(L.LightningModule):
    """A LightningModule of named parts, some trained and some frozen.

    A subclass assigns its parts, calls `freeze_parts` for those it only uses, and lists in
    `components` what inference needs.

    Attributes:
        model_role: what the stage does in a model, and its subclasses as well: `motion`, `video` or
            `decoder` (see `movideo.hub.model_folder.PARTS`); None for what no model knows.
        encoders: names of the parts through which alone training sees the video. While they are
            frozen, a data module may give what they make of it instead.

    Args:
        optimizer: makes the optimiser from parameter groups.
        lr_scheduler: makes the learning-rate schedule, stepped after every optimiser step.
        ema_decay: decay of the weight average; None keeps none.
        init_from: where to take the weights from, with a fresh optimiser: a checkpoint of the same
            stage, a model folder, or `embedded` for the small model that movideo brings along.
        allow_random: train over frozen parts that are randomly initialised.
        allow_other_parts: start from weights that were trained over other frozen parts than those
            here, or to predict something else, and adapt.
    """

    weight_spec: ClassVar = WeightSpec(checkpoints={"init_from": "movideo fit"})

    model_role: ClassVar[str | None] = None
    encoders: tuple[str, ...] = ()

    def __init__(
        self,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable = WarmupCosine,
        ema_decay: float | None = 0.9999,
        init_from: str | None = None,
        allow_random: bool = False,
        allow_other_parts: bool = False,
    ) -> None:
        super().__init__()
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.average = None if ema_decay is None else WeightAverage(ema_decay)
        self.init_from = init_from
        self.allow_random = allow_random
        self.allow_other_parts = allow_other_parts
        self._frozen: tuple[str, ...] = ()
        self._is_started = False
        self._torch_seed = 0
        self._resumed_at: int | None = None
        self._resumed: dict[str, Any] | None = None
        self.validation_means = ClipMeans()
        self._schedules: list[dict[str, Any]] = []
        self._configured: ConfiguredOptimizers | None = None
        self.register_state_dict_post_hook(_drop_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_ignore_frozen)  # type: ignore[no-untyped-call]

    # -------------------------------------------------------------------------------------- parts

    @classmethod
    def role(cls) -> str:
        """The stages whose checkpoints this one goes on from say the same."""
        return cls.model_role or cls.__name__

    def components(self) -> dict[str, object]:
        """The parts that inference needs, by attribute name."""
        raise NotImplementedError

    def parameter_groups(self) -> ParameterGroups:
        """Parameters to train, each group with the factor on its learning rate."""
        return [((p for p in self.parameters() if p.requires_grad), 1.0)]

    def averaged_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters of which an average is kept: all that are trained."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def freeze_parts(self, *names: str) -> None:
        """Keeps parts out of training and out of checkpoints."""
        self._frozen = names
        for name in names:
            getattr(self, name).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Stage:
        """As in torch, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen:
            getattr(self, name).eval()
        return self

    def setup(self, stage: str) -> None:
        """Starts from another run's weights, once, and refuses to learn over random frozen parts.

        Raises:
            UserError: a frozen part is random, `init_from` or the data's encodings do not fit, or a
                part could not be built again from a checkpoint.
        """
        if self.init_from is not None and not self._is_started:
            checkpoint = starting_point(self.init_from, self.role())
            if not self.allow_other_parts:
                self.check_parts(checkpoint.components, self.init_from)
            load_strictly(self, self._filled_up(checkpoint.weights()), self.init_from)
        self._is_started = True
        for part in self.components().values() if stage == "fit" else ():
            check_buildable(part)
        for name in self._frozen if stage == "fit" and not self.allow_random else ():
            part = getattr(self, name)
            if isinstance(part, PretrainedModule) and part.is_random:
                raise UserError(
                    f"model.{name}: frozen, but randomly initialised; name trained weights "
                    f"(--model.{name}.pretrained embedded) or pass --model.allow_random true"
                )

    def on_fit_start(self) -> None:
        """Tells the data which frozen parts training sees its clips through.

        Raises:
            UserError: the processes go on from different checkpoints, or some from none; or the
                optimiser or its schedule is another than the checkpoint's.
        """
        # A shared disk may show some processes old files. Asked here, where all of them come by.
        if self.trainer.strategy.broadcast(self._resumed_at) != self._resumed_at:
            raise UserError(
                f"{self.trainer.ckpt_path or 'no checkpoint'}: other processes read another; "
                "name one for all with --ckpt_path"
            )
        self._schedules = describe_schedules(self._lr_schedulers())
        if self._resumed is not None:
            self._configured = ConfiguredOptimizers(
                self.trainer.optimizers, self._lr_schedulers(), self._resumed
            )
            self._resumed = None
        self._torch_seed = torch.initial_seed()
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "serve_encodings"):
            data.serve_encodings({n: getattr(self, n) for n in self.encoders if n in self._frozen})

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuses clips of a size `(H, W)` that a part cannot take, before they are prepared.

        Raises:
            UserError: names the size and what to choose.
        """
        for part in self.components().values():
            if isinstance(part, VideoAutoencoder):
                part.latent_size(size)

    def untrained(self) -> list[str]:
        """Trained parts that are still as they were initialised, as far as they can tell."""
        return [
            name
            for name, part in self.components().items()
            if name not in self._frozen and isinstance(part, PretrainedModule) and part.is_random
        ]

    def _filled_up(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights, with our own for parts that they lack: a model has no discriminators."""
        there = {_part(key) for key in weights}
        return {k: v for k, v in self.state_dict().items() if _part(k) not in there} | weights

    def check_parts(self, described: dict[str, Any], where: str) -> None:
        """Refuses weights that were trained over other frozen parts than those here.

        Args:
            described: the parts they were trained with (see `movideo.hub.checkpoint.describe`).
            where: the weights; named in the error.

        Raises:
            UserError: names the part.
        """
        for name in self._frozen:
            part = getattr(self, name)
            if isinstance(part, PretrainedModule) and "pretrained" in described.get(name, {}):
                check_same(part, described[name], f"{where}: model.{name}")

    # ----------------------------------------------------------------------------------- training

    @property
    def clip_val(self) -> float | None:
        """Norm to which the gradients of an optimiser are clipped."""
        return self.trainer.gradient_clip_val

    def on_train_start(self) -> None:
        """Refuses what Lightning would, but for the reader: at the first step it says less.

        Raises:
            UserError: gradients of a fused optimiser are to be clipped under mixed precision.
        """
        if self._configured is not None:
            self._configured.apply(self.trainer.optimizers, self._lr_schedulers())
            self._configured = None
        is_mixed = isinstance(self.trainer.precision_plugin, MixedPrecision)
        for optimizer in self.trainer.optimizers if is_mixed and self.clip_val else ():
            if getattr(optimizer, "_step_supports_amp_scaling", False):
                raise UserError(
                    f"model: {type(optimizer).__name__} is fused, and Lightning clips no fused "
                    "optimiser's gradients under mixed precision; leave out fused: true"
                )

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        """Makes what draws from torch's own generators, as dropout does, depend on the step."""
        seed_torch(self.trainer, self._torch_seed, batch_idx)

    def _lr_schedulers(self) -> list[Any]:
        return [config.scheduler for config in self.trainer.lr_scheduler_configs]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimiser; every group has its own multiple of the rate."""
        optimizer = grouped_optimizer(self.make_optimizer, self.parameter_groups())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"},
        }

    def schedule(self, optimizer: Optimizer) -> LRScheduler:
        """The schedule of an optimiser's rate.

        Raises:
            UserError: it is one that waits for a metric, or a value is out of its range.
        """
        try:
            scheduler = self.make_lr_scheduler(optimizer)
        except ValueError as error:
            raise UserError(f"model.lr_scheduler: {first_line(error)}; mend its values") from error
        if isinstance(scheduler, ReduceLROnPlateau):
            raise UserError(
                "model.lr_scheduler: ReduceLROnPlateau waits for a metric, and rates change with "
                "each training step here; give a schedule of steps, such as WarmupCosine"
            )
        return scheduler

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Takes the step, then updates the average.

        Here and not when the batch ends: callbacks that save checkpoints run before that.
        """
        super().optimizer_step(*args, **kwargs)
        self.update_average()

    def update_average(self) -> None:
        """Takes in the weights after a step; one without gradients was none."""
        parameters = self.averaged_parameters()
        if self.average is not None and any(p.grad is not None for p in parameters.values()):
            self.average.update(parameters)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within it the stage computes with the averaged weights, if it keeps any."""
        if self.average is None or not self.average.tensors:
            yield
            return
        with self.average.applied(self):
            yield

    def on_validation_epoch_end(self) -> None:
        """Logs the means of what validation measured, each clip counted once."""
        for name, mean in self.validation_means.compute().items():
            self.log(f"val/{name}", mean, prog_bar=name == "loss")

    def visualization_loggers(self) -> list[TensorBoardLogger]:
        """Where this run's pictures go; without any, none need be made."""
        return [logger for logger in self.loggers if isinstance(logger, TensorBoardLogger)]

    def log_visualization(self, name: str, picture: Tensor) -> None:
        """Sends a picture `(3, H, W)` in [-1, 1] to TensorBoard, if that is where this run logs."""
        for logger in self.visualization_loggers():
            logger.experiment.add_image(name, (picture.clamp(-1, 1) + 1) / 2, self.global_step)

    # -------------------------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the parts can be built from again (see `movideo.hub.checkpoint`)."""
        checkpoint["format_version"] = FORMAT_VERSION
        checkpoint["stage"], checkpoint["role"] = type(self).__name__, self.role()
        with self.averaged_weights():  # the hash is that of the weights to go on with
            checkpoint["components"] = {
                name: describe(part, frozen=name in self._frozen)
                for name, part in self.components().items()
            }
        checkpoint["schedules"] = self._schedules
        checkpoint["ema"] = {} if self.average is None else self.average.tensors
        checkpoint["ema_updates"] = 0 if self.average is None else self.average.updates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes weights and average back.

        Raises:
            UserError: the checkpoint is another stage's, was trained over other frozen parts, or
                its weights do not fit.
        """
        path = str(self.trainer.ckpt_path)
        check(checkpoint, path, self.role())
        self._resumed_at = checkpoint["global_step"]
        if self.trainer.state.fn == TrainerFn.FITTING:
            if "optimizer_states" not in checkpoint:
                raise UserError(
                    f"{path}: weights alone (save_weights_only), from which no run goes on; "
                    "start one with --model.init_from"
                )
            kept = ("optimizer_states", "schedules")
            self._resumed = {name: checkpoint[name] for name in kept if name in checkpoint}
        self.check_parts(checkpoint["components"], path)
        load_strictly(self, checkpoint["state_dict"], path)  # Lightning's own would not explain
        if self.average is not None:
            self.average.tensors = dict(checkpoint["ema"])
            self.average.updates = checkpoint["ema_updates"]


def grouped_optimizer(make: OptimizerCallable, groups: ParameterGroups) -> Optimizer:
    """An optimiser in which every group of parameters has its own multiple of the rate.

    A group without parameters is left out.

    Raises:
        UserError: a value is out of the optimiser's range.
    """
    lists = [(list(parameters), factor) for parameters, factor in groups]
    lists = [(parameters, factor) for parameters, factor in lists if parameters]
    try:
        optimizer = make([{"params": parameters} for parameters, _ in lists])
    except ValueError as error:
        raise UserError(f"model.optimizer: {first_line(error)}; mend its values") from error
    for group, (_, factor) in zip(optimizer.param_groups, lists, strict=True):
        group["lr"] = group["lr"] * factor
    return optimizer


def _drop_frozen(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    assert isinstance(module, Stage)
    for key in [key for key in state if key.removeprefix(prefix).startswith(_prefixes(module))]:
        del state[key]


def _ignore_frozen(module: nn.Module, incompatible: _IncompatibleKeys) -> None:
    assert isinstance(module, Stage)
    missing = incompatible.missing_keys
    missing[:] = [key for key in missing if not key.startswith(_prefixes(module))]


def _part(key: str) -> str:
    return key.partition(".")[0]


def _prefixes(stage: Stage) -> tuple[str, ...]:
    return tuple(f"{name}." for name in stage._frozen)
