"""A run that goes on: the settings of its optimisers are those of its config, not of the file.

torch and Lightning restore an optimiser's rate, decay and betas, and a schedule's numbers, with
its state; what the config says now would be recorded and not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from movideo.errors import UserError

Settings = dict[str, Any]

_NOT_SETTINGS = ("params", "lr", "initial_lr")  # what is trained, and the rates: see `apply`
# How an optimiser computes, not what: versions of torch and kinds of Adam differ in these.
_OPTIONAL = frozenset(
    ("foreach", "fused", "capturable", "differentiable", "maximize", "decoupled_weight_decay")
)
# What a schedule's state has besides its settings.
_RATES = ("base_lrs", "_last_lr", "_get_lr_called_within_step", "_is_initial", "lr_lambdas")


class ConfiguredOptimizers:
    """What a config says of optimisers and schedules, taken before a checkpoint is restored.

    Args:
        optimizers: those just made.
        schedulers: the schedule of each.
        saved: the checkpoint that a run goes on from; see `describe_schedules`.

    Raises:
        UserError: the checkpoint is of other optimisers, or of a schedule of other settings.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        schedulers: Sequence[LRScheduler],
        saved: Settings,
    ) -> None:
        self._groups = [[_group(group) for group in one.param_groups] for one in optimizers]
        self._base_rates = [list(schedule.base_lrs) for schedule in schedulers]
        for groups, state in zip(self._groups, saved["optimizer_states"], strict=False):
            _check_same_kind(groups, state["param_groups"])
        before = saved.get("schedules", [None] * len(schedulers))
        for schedule, settings in zip(schedulers, before, strict=False):
            _check_same_schedule(schedule, settings)

    def apply(self, optimizers: Sequence[Optimizer], schedulers: Sequence[LRScheduler]) -> None:
        """Puts the settings in the place of those restored; equal ones change nothing.

        A rate that the schedule has lowered stays lowered by as much.
        """
        for optimizer, groups in zip(optimizers, self._groups, strict=True):
            for group, asked in zip(optimizer.param_groups, groups, strict=True):
                restored = group.get("initial_lr", group["lr"])
                group |= {name: asked[name] for name in asked if name not in _NOT_SETTINGS}
                if restored != asked["initial_lr"]:
                    share = group["lr"] / restored if restored else 1.0
                    group["initial_lr"] = asked["initial_lr"]
                    group["lr"] = asked["initial_lr"] * share
        for schedule, rates in zip(schedulers, self._base_rates, strict=True):
            schedule.base_lrs = rates
            if isinstance(schedule, LambdaLR):  # its numbers are the config's: so is the rate
                factors = (factor(schedule.last_epoch) for factor in schedule.lr_lambdas)
                for group, rate, factor in zip(
                    schedule.optimizer.param_groups, rates, factors, strict=True
                ):
                    group["lr"] = rate * factor


def describe_schedules(schedulers: Sequence[LRScheduler]) -> list[Settings]:
    """The settings of schedules just made, in plain values, to be kept in checkpoints."""
    return [
        {
            name: value
            for name, value in schedule.state_dict().items()
            if name not in _RATES and isinstance(value, bool | int | float | str | None)
        }
        for schedule in schedulers
    ]


def _group(group: Settings) -> Settings:
    settings = {name: value for name, value in group.items() if name != "params"}
    return {"initial_lr": group["lr"], **settings}


def _check_same_kind(groups: Sequence[Settings], restored: Sequence[Settings]) -> None:
    if len(groups) != len(restored):
        raise UserError(
            f"model.optimizer: {len(groups)} groups of parameters, and the checkpoint has "
            f"{len(restored)}; start a run of its own with --model.init_from"
        )
    names, before = set(groups[0]), {"initial_lr", *restored[0]} - {"params"}
    if (names ^ before) - _OPTIONAL:
        raise UserError(
            "model.optimizer: another kind than the checkpoint's, which has "
            f"{', '.join(sorted(before - _OPTIONAL - {'initial_lr'}))}; "
            "give that one, or start a run of its own with --model.init_from"
        )


def _check_same_schedule(schedule: LRScheduler, before: Settings | None) -> None:
    if before is None or isinstance(schedule, LambdaLR):
        return
    (now,) = describe_schedules([schedule])
    for name in sorted(now.keys() | before.keys()):
        if now.get(name) != before.get(name):
            raise UserError(
                f"model.lr_scheduler: {name} is {now.get(name)}, and {before.get(name)} in the "
                "checkpoint; this schedule cannot be changed in mid-run: leave it, or start a run "
                "of its own with --model.init_from"
            )
