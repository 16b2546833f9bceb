"""Checkpoints as the stages write them: read, checked, and turned into parts.

A checkpoint is Lightning's own with six more keys: `format_version`; `stage`, the name of the class
that wrote it; `role`, what that class does in a model, its subclasses as well; `components`, the
class and config of each part; `ema`, the averaged trained tensors beside the raw ones of
`state_dict`; and `ema_updates`. Frozen parts are not stored: they are named by where they came from
and by a hash of their weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor, nn

from movideo.errors import UserError
from movideo.hub.pretrained import PretrainedModule
from movideo.hub.trust import is_trusted

FORMAT_VERSION = 1
# Where classes stood when earlier versions wrote their names down.
MOVED = {
    "movideo.models.motion_space": "movideo.motion.space",
    "movideo.models.condition": "movideo.motion.condition",
}
# What stages do whose checkpoints were written before they said so themselves.
ROLES_OF_0_1_0 = {
    "LatentAutoencoder": "autoencoder",
    "DepthFlowDiffusion": "motion",
    "LatentVideoDiffusion": "video",
    "FlowDecoderGAN": "decoder",
}


def describe(part: Any, frozen: bool) -> dict[str, Any]:
    """Class and config of a part: enough to build it again, given its weights.

    Args:
        part: one with diffusers' `config`: a model, a scheduler, a `ConfigPart`, or a
            `PretrainedModule`.
        frozen: whether the weights stay outside the checkpoint.

    Raises:
        UserError: its config does not say how to build it again.
    """
    check_buildable(part)
    config = {k: v for k, v in dict(part.config).items() if not k.startswith("_")}
    described: dict[str, Any] = {"class_path": class_path(type(part)), "config": _plain(config)}
    if isinstance(part, PretrainedModule):
        described["fingerprint"] = part.fingerprint()
        described |= part.source if frozen else {}
    return described


def check_buildable(part: Any) -> None:
    """Refuses a part whose config does not say how to build it again.

    Raises:
        UserError: it has no config, or its config lacks an argument of its constructor.
    """
    kind = type(part)
    where = f"{class_path(kind)}: cannot be saved"
    if not hasattr(part, "config"):
        raise UserError(f"{where}: it has no config; make it a ConfigMixin of diffusers")
    if isinstance(part, PretrainedModule):
        return
    known = {*part.config, *getattr(kind, "ignore_for_config", ())}
    for name, parameter in signature(kind).parameters.items():
        if name not in known and parameter.kind is not Parameter.VAR_KEYWORD:
            raise UserError(
                f"{where}: its config lacks {name}; decorate __init__ with register_to_config"
            )


def build(
    described: dict[str, Any],
    weights: dict[str, Tensor] | None = None,
    chosen: type | None = None,
) -> Any:
    """Builds a part that `describe` wrote down.

    Args:
        described: its class, config and, where frozen, the place of its weights.
        weights: its state dict, None for a part that has none or is frozen.
        chosen: a class that the user's own config names, so that it needs no trust.

    Raises:
        UserError: the weights do not fit, or those found are not those that were described; or the
            class is another package's, and not trusted.
    """
    kind = find_class(described["class_path"], chosen)
    if "pretrained" in described and weights is None:
        return _build_frozen(kind, described)
    if issubclass(kind, PretrainedModule):
        part = kind(None, described["config"])
    else:
        part = kind.from_config(described["config"])
    if weights is not None:
        load_strictly(part, weights, kind.__name__)
    return part


def class_path(kind: type) -> str:
    """`package.module.Class`, where the class is defined."""
    return f"{kind.__module__}.{kind.__qualname__}"


def current_path(written: object) -> str:
    """A class path as some version wrote it, as this version has it."""
    module, _, name = str(written).rpartition(".")
    return f"{MOVED.get(module, module)}.{name}"


def find_class(written: str, chosen: type | None = None) -> Any:
    """The class of a part.

    A file must not choose what is imported, and some of diffusers' classes load code and weights
    from wherever their config says. So only movideo's parts and diffusers' schedulers are looked
    up, the class that the user chose, and classes of packages that the user trusts (see
    `movideo.hub.trust`).

    Args:
        written: its class path.
        chosen: a class that the user's own config names.

    Raises:
        UserError: it is none of theirs, or no longer there.
    """
    path = current_path(written)
    if chosen is not None and path == class_path(chosen):
        return chosen
    module, _, name = path.rpartition(".")
    package = module.partition(".")[0]
    is_own = package in ("movideo", "diffusers")
    if not is_own and not is_trusted(module, name):
        raise UserError(
            f"{path}: not loaded, for nobody said that its code may run; if you trust it, pass "
            f"--trust {package} (in Python trust=[{package!r}])"
        )
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not in the versions installed here") from error
    if not isinstance(kind, type) or (is_own and not _is_part(kind)):
        raise UserError(f"{path}: not a part of a model; it is not loaded")
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
        role: what it does in a model.
        components: what `describe` said of each part.
        state: raw weights of the trained parts.
        ema: the averaged ones, a part of the same keys; empty where the stage keeps none.
        step: optimiser steps taken.
    """

    path: Path
    stage: str
    role: str
    components: dict[str, dict[str, Any]]
    state: dict[str, Tensor]
    ema: dict[str, Tensor]
    step: int

    @classmethod
    def read(cls, path: str | Path, role: str | None = None) -> Checkpoint:
        """Reads a checkpoint; nothing in it is executed.

        Args:
            path: the file.
            role: of the stage that must have written it, any when None.

        Raises:
            UserError: it is missing, no checkpoint, of another format or another role.
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
        check(content, path, role)
        return cls(
            path=path,
            stage=content["stage"],
            role=role_of(content),
            components=content["components"],
            state=content["state_dict"],
            ema=content["ema"],
            step=int(content["global_step"]),
        )

    def weights(self) -> dict[str, Tensor]:
        """The weights to go on with: averaged where there is an average, raw elsewhere."""
        return {**self.state, **self.ema}

    def class_path(self, name: str) -> str:
        """Of one part, as this version has it."""
        return current_path(self.components[name]["class_path"])

    def component(self, name: str, chosen: type | None = None) -> Any:
        """Builds one part with the weights to go on with.

        Args:
            name: the stage's attribute.
            chosen: as for `build`.

        Raises:
            UserError: the checkpoint has no such part, its weights do not fit, or its class is not
                trusted.
        """
        if name not in self.components:
            raise UserError(f"{self.path}: has no part {name!r}, only {', '.join(self.components)}")
        prefix = f"{name}."
        weights = {
            k.removeprefix(prefix): v for k, v in self.weights().items() if k.startswith(prefix)
        }
        return build(self.components[name], weights or None, chosen)


def role_of(content: Mapping[str, Any]) -> str:
    """The role of the stage that wrote a checkpoint."""
    stage = str(content.get("stage"))
    return str(content.get("role") or ROLES_OF_0_1_0.get(stage, stage))


def check(content: Any, path: str | Path, role: str | None) -> None:
    """Refuses what another program or a stage of another role wrote.

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
    if role is not None and role_of(content) != role:
        raise UserError(
            f"{path}: a checkpoint of {content.get('stage')}, not of a {role} stage; give another"
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
