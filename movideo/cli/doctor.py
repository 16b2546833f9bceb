"""`movideo doctor`: what is installed, and which weights are there; no network is asked."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from huggingface_hub import constants
from lightning import LightningDataModule, LightningModule
from torch import nn

import stages
from datamodules import VideoClipDataModule
from movideo.cli.parser import UserArgumentParser, telling
from movideo.errors import UserError
from movideo.hub import EMBEDDED
from movideo.hub.model_folder import INDEX
from movideo.hub.needs import Need, WeightSpec, needed_weights
from movideo.hub.pretrained import WEIGHTS_FOLDER, read_config

MISSING = 1  # exit status: the machine or the config lacks weights
PACKAGES = (
    "movideo",
    "torch",
    "torchvision",
    "lightning",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "huggingface_hub",
    "safetensors",
    "torchmetrics",
    "kornia",
    "opencv-python-headless",
    "av",
    "numpy",
)
OTHER_SECTIONS = (
    "seed_everything",
    "trainer",
    "optimizer",
    "lr_scheduler",
    "ckpt_path",
    "weights_only",
    "trust",
    "base",
    "non_finite",
    "stall",
    "progress_log",
)
HEADER = ("part", "weights", "there", "size", "licence", "looked for in")


def run_doctor(arguments: list[str]) -> None:
    """Reports on this machine, or on what a config needs.

    Ends the process with status 1 if weights are missing.

    Raises:
        UserError: an argument or the config is wrong.
    """
    parser = doctor_parser()
    options = parser.parse_args(arguments)
    if not arguments:
        print("\n".join([*installed(), "", *embedded()]))
        missing = not (WEIGHTS_FOLDER / INDEX).is_file()
    else:
        sections = options.as_dict()
        chosen = {name: sections[name] for name in ("model", "data") if sections.get(name)}
        needs = list(needed_weights(chosen))
        print("\n".join([*weight_table(needs), "", *parameter_table(parser, options)]))
        missing = any(not need.place.present for need in needs)
    if missing:
        sys.exit(MISSING)


def installed() -> Iterator[str]:
    """Versions, devices, and where weights are kept."""
    rows = [("python", platform.python_version())]
    for package in PACKAGES:
        try:
            rows.append((package, version(package)))
        except PackageNotFoundError:
            rows.append((package, "missing"))
    rows.append(("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"))
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        rows.append((f"cuda:{index}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB"))
    if not torch.cuda.device_count():
        rows.append(("cuda", "no device"))
    rows.append(("hub cache", constants.HF_HUB_CACHE))
    rows.append(("torch cache", torch.hub.get_dir()))
    rows.append(("HF_HUB_OFFLINE", "set" if constants.HF_HUB_OFFLINE else "not set"))
    return columns(rows)


def embedded() -> Iterator[str]:
    """The weights that movideo brings along."""
    if not (WEIGHTS_FOLDER / INDEX).is_file():
        yield f"embedded weights: missing in {WEIGHTS_FOLDER}; install movideo again"
        return
    yield f"embedded weights: {WEIGHTS_FOLDER}"
    parts = [name for name in read_config(WEIGHTS_FOLDER, INDEX) if not name.startswith("_")]
    files = {name: list((WEIGHTS_FOLDER / name).glob("*.safetensors")) for name in parts}
    rows = [(f"  {n}", _bytes(sum(f.stat().st_size for f in found))) for n, found in files.items()]
    yield from columns([row for row in rows if row[1] != "?"])


def weight_table(needs: list[Need]) -> Iterator[str]:
    """Every weight of the config, then the commands that fetch what is missing."""
    if not needs:
        yield "no weights needed"
        return
    yield from columns(
        [
            HEADER,
            *(
                (
                    need.option,
                    need.name,
                    "yes" if need.place.present else "NO",
                    _bytes(need.place.size),
                    need.place.licence,
                    need.place.where,
                )
                for need in needs
            ),
        ]
    )
    missing = [need for need in needs if not need.place.present]
    yield ""
    yield "missing, and what brings it:" if missing else "all there"
    for command in dict.fromkeys(need.place.fetch for need in missing):
        yield f"  {command}"


def parameter_table(parser: UserArgumentParser, options: Any) -> Iterator[str]:
    """Parameters of every network of the config's stage."""
    if not options.get("model"):
        return
    try:
        stage = without_weights(parser, options)
    except UserError as error:
        yield f"parameters: not counted ({error})"
        return
    rows = [("network", "parameters", "trained")]
    for name, part in stage.named_children():
        parameters = list(part.parameters())
        if parameters:
            trained = sum(p.numel() for p in parameters if p.requires_grad)
            rows.append((name, f"{sum(p.numel() for p in parameters):,}", f"{trained:,}"))
    yield from columns(rows)


def without_weights(parser: UserArgumentParser, options: Any) -> LightningModule:
    """Builds the stage of a config with its networks on the meta device, where they take no memory.

    Args:
        parser: as `doctor_parser` makes it.
        options: what it parsed.

    Raises:
        UserError: an architecture stands neither in the config nor in the embedded weights.
    """
    options = options.clone()
    options.pop("data", None)  # its estimators would be built, weights and all
    own = options.model.init_args
    module, _, kind = options.model.class_path.rpartition(".")
    spec = getattr(getattr(import_module(module), kind), "weight_spec", WeightSpec())
    for name in spec.checkpoints:
        if own.get(name):
            own[name] = None
    stage: LightningModule = telling(parser.instantiate, options).model
    return stage


def doctor_parser() -> UserArgumentParser:
    """A parser of stages' configs that makes networks without their weights."""
    parser = UserArgumentParser(
        prog="movideo doctor",
        description="Without arguments: what is installed, and the embedded weights. With a "
        "config: every weight that it needs, where it was looked for, and how to get it. Exits 0 "
        "if all are there, 1 if one is missing, 2 if the config is wrong. Asks no network.",
    )
    parser.add_argument("-c", "--config", action="config", help="A config, yours or a shipped one.")
    for name in stages.TESTED:
        getattr(stages, name)  # loads it: `--model` knows what is loaded by its short name
    parser.add_subclass_arguments(LightningModule, "model", required=False)
    # As `movideo predict` reads it: a config that chooses no class means clips of videos.
    parser.add_subclass_arguments(LightningDataModule, "data", required=False)
    kind = VideoClipDataModule
    parser.set_defaults({"data": {"class_path": f"{kind.__module__}.{kind.__name__}"}})
    for name in OTHER_SECTIONS:
        parser.add_argument(f"--{name}", type=Any, default=None, help="Not used here.")
    parser.add_instantiator(_on_meta, nn.Module, subclasses=True)
    return parser


def _on_meta(kind: type[nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    # A stage's metrics compute while they are made; embedded weights, small, say their own shape.
    if issubclass(kind, LightningModule) or kwargs.get("pretrained") == EMBEDDED:
        return kind(*args, **kwargs)
    if "pretrained" in kwargs:
        kwargs["pretrained"] = None
    with torch.device("meta"):
        return kind(*args, **kwargs)


def columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()


def _bytes(size: int | None) -> str:
    if not size:
        return "?"
    for power, unit in enumerate(("B", "kB", "MB")):
        if size < 1000 ** (power + 1):
            return f"{size / 1000**power:.0f} {unit}"
    return f"{size / 1e9:.2f} GB"
