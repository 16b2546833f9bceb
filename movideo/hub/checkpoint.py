"""Checkpoints as the stages write them: read, checked, and turned into parts.

A checkpoint is Lightning's own with five more keys: `format_version`; `stage`, the class that
wrote it; `components`, the class and config of each part; `ema`, the averaged trained tensors
beside the raw ones of `state_dict`; and `ema_updates`. Frozen parts are not stored: they are named
by where they came from and by a hash of their weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor, nn

from movideo.errors import UserError
from movideo.hub.pretrained import PretrainedModule

FORMAT_VERSION = 1
# Where classes stood when earlier versions wrote their names down.
MOVED = {
    "movideo.models.motion_space": "movideo.motion.space",
    "movideo.models.condition": "movideo.motion.condition",
}


def describe(part: Any, frozen: bool) -> dict[str, Any]:
    """Class and config of a part: enough to build it again, given its weights.

    Args:
        part: a diffusers model or scheduler, or one of our wrappers of pretrained weights.
        frozen: whether the weights stay outside the checkpoint.
    """
    kind = type(part)
    config = {k: v for k, v in dict(part.config).items() if not k.startswith("_")}
    described: dict[str, Any] = {
        "class_path": f"{kind.__module__}.{kind.__qualname__}",
        "config": _plain(config),
    }
    if isinstance(part, PretrainedModule):
        described["fingerprint"] = part.fingerprint()
        described |= part.source if frozen else {}
    return described


def build(described: dict[str, Any], weights: dict[str, Tensor] | None = None) -> Any:
    """Builds a part that `describe` wrote down.

    Args:
        described: its class, config and, where frozen, the place of its weights.
        weights: its state dict, None for a part that has none or is frozen.

    Raises:
        UserError: the weights do not fit, or those found are not those that were described.
    """
    kind = find_class(described["class_path"])
    if "pretrained" in described and weights is None:
        return _build_frozen(kind, described)
    if issubclass(kind, PretrainedModule):
        part = kind(None, described["config"])
    else:
        part = kind.from_config(described["config"])
    if weights is not None:
        load_strictly(part, weights, kind.__name__)
    return part


def find_class(class_path: str) -> Any:
    """The class of a part.

    Only movideo's parts and diffusers' schedulers: a file must not choose what is imported, and
    some of diffusers' classes load code and weights from wherever their config says.

    Raises:
        UserError: it is none of theirs, or no longer there.
    """
    module, _, name = str(class_path).rpartition(".")
    module = MOVED.get(module, module)
    if module.partition(".")[0] not in ("movideo", "diffusers"):
        raise UserError(f"{class_path}: neither movideo's nor diffusers'; it is not loaded")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{class_path}: not in the versions installed here") from error
    if not (isinstance(kind, type) and _is_part(kind)):
        raise UserError(f"{class_path}: not a part of a model; it is not loaded")
    return kind


def _is_part(kind: type) -> bool:
    if kind.__module__.startswith("movideo."):
        return issubclass(kind, (ConfigMixin, PretrainedModule))
    return issubclass(kind, SchedulerMixin)


def check_same(part: PretrainedModule, described: dict[str, Any], where: str | Path) -> None:
    """Refuses a frozen part that is not the one which `describe` saw.

    Args:
        part: what is there now.
        described: what the checkpoint was trained with.
        where: the checkpoint, or the place of the weights; named in the error.

    Raises:
        UserError: the hashes differ.
    """
    if part.fingerprint() != described["fingerprint"]:
        raise UserError(
            f"{where}: not the {type(part).__name__} that the checkpoint was trained with "
            f"({described['pretrained'] or 'random weights'}, another hash); "
            "put the weights it was trained with back"
        )


def _build_frozen(kind: Any, described: dict[str, Any]) -> Any:
    if described["pretrained"] is None:
        raise UserError(
            f"{kind.__name__}: the checkpoint was trained over random weights, which it does not "
            "hold; train over saved ones"
        )
    names = ("pretrained", "subfolder", "revision")
    place = {name: described[name] for name in names if name in described}
    part = kind(config=described["config"], **place)  # a single file does not hold it
    check_same(part, described, described["pretrained"])
    return part


def load_strictly(module: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Loads a state dict; every missing or unexpected key ends the run.

    Raises:
        UserError: names the first keys that do not fit.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise UserError(
            f"{name}: the checkpoint does not fit: {reason[:300]}; use the config it came from"
        ) from error


@dataclass(frozen=True)
class Checkpoint:
    """A stage's checkpoint.

    Attributes:
        path: the file.
        stage: the LightningModule's class name.
        components: what `describe` said of each part.
        state: raw weights of the trained parts.
        ema: the averaged ones, a part of the same keys; empty where the stage keeps none.
        step: optimiser steps taken.
    """

    path: Path
    stage: str
    components: dict[str, dict[str, Any]]
    state: dict[str, Tensor]
    ema: dict[str, Tensor]
    step: int

    @classmethod
    def read(cls, path: str | Path, stage: str | None = None) -> Checkpoint:
        """Reads a checkpoint; nothing in it is executed.

        Args:
            path: the file.
            stage: the stage that must have written it, any when None.

        Raises:
            UserError: it is missing, no checkpoint, of another format or of another stage.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such checkpoint; give the .ckpt file of an earlier run")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # torch raises many kinds for a file that is not its own
            raise UserError(
                f"{path}: not a checkpoint; give the .ckpt file of an earlier run"
            ) from error
        check(content, path, stage)
        return cls(
            path=path,
            stage=content["stage"],
            components=content["components"],
            state=content["state_dict"],
            ema=content["ema"],
            step=int(content["global_step"]),
        )

    def weights(self) -> dict[str, Tensor]:
        """The weights to go on with: averaged where there is an average, raw elsewhere."""
        return {**self.state, **self.ema}

    def component(self, name: str) -> Any:
        """Builds one part with the weights to go on with.

        Raises:
            UserError: the checkpoint has no such part, or its weights do not fit.
        """
        if name not in self.components:
            raise UserError(f"{self.path}: has no part {name!r}, only {', '.join(self.components)}")
        prefix = f"{name}."
        weights = {
            k.removeprefix(prefix): v for k, v in self.weights().items() if k.startswith(prefix)
        }
        return build(self.components[name], weights or None)


def check(content: Any, path: str | Path, stage: str | None) -> None:
    """Refuses what another program or another stage wrote.

    Raises:
        UserError: names the file and what it is.
    """
    if not isinstance(content, dict) or "format_version" not in content:
        raise UserError(
            f"{path}: not a checkpoint of movideo; give the .ckpt file of an earlier run"
        )
    if content["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{path}: checkpoint format {content['format_version']}, this version reads "
            f"{FORMAT_VERSION}; use the version of movideo that wrote it"
        )
    if stage is not None and content.get("stage") != stage:
        raise UserError(
            f"{path}: a checkpoint of {content.get('stage')}, not of {stage}; give one of {stage}"
        )
    kinds = {"components": dict, "state_dict": dict, "ema": dict, "stage": str, "global_step": int}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            raise UserError(
                f"{path}: damaged, has no {name}; give the .ckpt file of an earlier run"
            )


def _plain(value: Any) -> Any:
    """Only what `torch.load(weights_only=True)` reads back.

    Configs hold tuples, frozen dicts and NumPy numbers.
    """
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value
