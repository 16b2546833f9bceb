"""`movideo fit`, `validate`, `test` and `predict`: LightningCLI over stages and the data module."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
import warnings
from enum import Enum
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import yaml
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import stages
from datamodules import VideoClipDataModule
from movideo.cli.configs import shipped_config, shipped_configs
from movideo.cli.parser import UserArgumentParser, telling
from movideo.cli.resume import resolve
from movideo.cli.saved_config import SaveConfig
from movideo.cli.stage_report import stage_report
from movideo.cli.trainer_options import check_trainer, yield_to_flags
from movideo.errors import UserError
from movideo.evaluation.page import write_page
from movideo.evaluation.provenance import Run, of_clips_seen
from movideo.hub.checkpoint import Checkpoint
from movideo.hub.model_folder import starting_point
from movideo.hub.trust import trust
from movideo.progress import on_terminal
from movideo.storage.atomic import whole_file
from stages.base import Stage
from stages.checkpoints import WholeCheckpointIO
from stages.csv_rows import keep_rows
from stages.guards import NonFiniteGuard, StallGuard
from stages.progress_log import ProgressLog
from stages.seen_clips import SeenClips

TRAINED = ("unet", "decoder")  # parts that nothing but a checkpoint of the stage fills
# What Lightning tells people who write code for it; nobody who runs the command can act on it.
NOT_FOR_USERS = (
    r".*isinstance\(treespec, LeafSpec\)",
    r".*does not have many workers",
    r".*smaller than the logging interval",
    r".*module\(s\) in eval mode at the start of training",
    r".*Checkpoint directory .* exists and is not empty",
    r"The dirpath has changed from",
    r"Total length of `list` across ranks is zero",
    r"Detected call of `lr_scheduler.step\(\)` before",  # the discriminators' optimiser starts late
    r"It is recommended to use `self.log\(.*sync_dist=True",  # means are of all processes already
    r"Using ModelCheckpoint with manual optimization",
)


class StageArgumentParser(LightningArgumentParser):
    """LightningCLI's parser, with errors for the person who typed the arguments."""

    error = UserArgumentParser.error


class MovideoCLI(LightningCLI):
    """LightningCLI with one-line errors and checkpoints that are read before anything starts."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Lightning's parser, but one that raises `UserError`."""
        parser = StageArgumentParser(**kwargs)
        parser.add_argument(
            "-c", "--config", action="config", help="A config file, yours or a shipped one."
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the guards, which no list of callbacks replaces, and a default data module."""
        parser.add_argument(
            "--trust",
            type=str | list[str],
            default=[],
            help="Packages whose classes checkpoints and models may name.",
        )
        parser.add_argument("--base", type=str | None, help="The config that a config builds on.")
        parser.add_lightning_class_args(NonFiniteGuard, "non_finite")
        parser.add_lightning_class_args(StallGuard, "stall")
        parser.add_lightning_class_args(ProgressLog, "progress_log")
        kind = VideoClipDataModule
        parser.set_defaults({"data": {"class_path": f"{kind.__module__}.{kind.__name__}"}})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and reads the checkpoints named before clips are prepared in vain.

        Raises:
            UserError: an argument is wrong; a checkpoint is missing, none, or another stage's.
        """
        super().parse_arguments(parser, args)
        config = self.config[self.config["subcommand"]]
        trust([config["trust"]] if isinstance(config["trust"], str) else config["trust"])
        resolve(config, self.config["subcommand"])
        yield_to_flags(config["trainer"])
        module, _, name = config["model"]["class_path"].rpartition(".")
        if config["trainer"]["enable_progress_bar"] is None and not on_terminal():
            config["trainer"]["enable_progress_bar"] = False  # the lines of `ProgressLog` instead
        kind = getattr(import_module(module), name)  # parsing has imported it
        role = kind.role() if issubclass(kind, Stage) else name
        parts = config["model"].get("init_args", {})
        started_from = parts.get("init_from")
        trained = config.get("ckpt_path") or started_from
        self._is_untrained = not trained and self.config["subcommand"] in ("validate", "test")
        if self._is_untrained and any(part in parts for part in TRAINED):
            raise _untrained(name)
        if started_from is not None:
            starting_point(started_from, role)
        resumed_from = config.get("ckpt_path")
        if resumed_from is not None:
            Checkpoint.read(resumed_from, role)

    def _parse_ckpt_path(self) -> None:
        """Takes no settings from a checkpoint: Lightning would let it name classes to be built."""

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer.

        Raises:
            UserError: a part refuses its settings, or the stage the trainer's.
        """
        telling(super().instantiate_classes)
        self.trainer.strategy.checkpoint_io = WholeCheckpointIO()
        check_trainer(self.trainer, self.model)
        if isinstance(self.model, Stage):
            for size in getattr(self.datamodule, "sizes", ()):
                self.model.check_size(size)
        if self._is_untrained and isinstance(self.model, Stage) and self.model.untrained():
            raise _untrained(type(self.model).__name__)
        if self.config["subcommand"] == "fit" and self.config["fit"].get("ckpt_path"):
            keep_rows(self.trainer.loggers)
        cluster = getattr(self.trainer.strategy, "cluster_environment", None)
        if cluster is not None:  # Lightning would check this much later
            telling(
                cluster.validate_settings,
                num_devices=self.trainer.num_devices,
                num_nodes=self.trainer.num_nodes,
            )

    def after_predict(self) -> None:
        """Waits for the processes that this one launched: they may have more left to make.

        For any time, while a barrier gives up after half an hour.
        """
        for process in getattr(self.trainer.strategy.launcher, "procs", ()):
            process.wait()

    def before_test(self) -> None:
        """Starts the clock, and notes which clips are measured."""
        self._started = monotonic()
        self._seen = SeenClips()
        self.trainer.callbacks.append(self._seen)  # type: ignore[attr-defined]

    def after_test(self) -> None:
        """Writes the metrics into the run's log folder: `metrics.json`, and a report with them."""
        folder = self.trainer.log_dir  # all processes agree on it: each has to ask
        if not self.trainer.is_global_zero or folder is None or not self.trainer.loggers:
            return  # without a logger Lightning names the folder that the user happens to be in
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        with whole_file(Path(folder) / "metrics.json") as temporary:
            temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
        if not isinstance(self.model, stages.VideoEvaluation):  # which writes a fuller one itself
            report = stage_report(
                type(self.model).__name__,
                self.config["test"].get("ckpt_path"),
                of_clips_seen(self.datamodule.protocol(), self._seen.names),
                metrics,
                getattr(getattr(self.model, "metrics", None), "listed", ()),
                self.config["test"]["seed_everything"],
                Run.ending_now(
                    self.model.device, monotonic() - self._started, self.trainer.world_size
                ),
            )
            report.write(folder)
            write_page(report, folder)


def _untrained(stage: str) -> UserError:
    return UserError(
        f"{stage}: its network would be untrained; pass --ckpt_path with a checkpoint of it"
    )


def run_stage(arguments: list[str]) -> None:
    """Runs one LightningCLI command.

    Raises:
        UserError: the arguments or what they name cannot be used.
    """
    _quieten()
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    # Defaults of Lightning's own callbacks that its `config.yaml` could not hold otherwise.
    yaml.SafeDumper.add_multi_representer(Enum, lambda to, member: to.represent_data(member.value))
    # Not `args`: the processes that Lightning launches are given this command line.
    sys.argv[1:] = arguments
    shared = {
        "default_config_files": [str(shipped_config("base/trainer.yaml"))],
        "epilog": f"shipped configs: {' '.join(shipped_configs())}",
    }
    named = stages.TESTED if arguments[0] in ("test", "predict") else stages.TRAINED
    for name in named:
        getattr(stages, name)  # loads it: `--model` knows what is loaded by its short name
    try:
        MovideoCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=Trainer,
            seed_everything_default=0,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,  # each stage takes its own, in its own options
            parser_kwargs={
                "prog": "movideo",
                **{name: dict(shared) for name in ("fit", "validate", "test", "predict")},
            },
        )
    except MisconfigurationException as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    except Exception as error:
        if _is_lightnings_own(error):
            raise UserError(f"trainer: {' '.join(str(error).split())}") from error
        if not _is_out_of_memory(error):
            raise
        asked = re.search(r"tried to allocate [\d.]+ \w+", str(error), re.IGNORECASE)
        raise UserError(
            f"out of memory{f' ({asked[0]})' if asked else ''}; lower data.batch_size, "
            "data.num_frames or data.size, or set model.unet.gradient_checkpointing to true "
            "(stage 3: model.micro_batch_size to 1)"
        ) from error


def _is_lightnings_own(error: Exception) -> bool:
    """Whether Lightning itself raised an error, as it does of options that do not go together."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return isinstance(error, ValueError | RuntimeError | TypeError) and (
        f"{os.sep}lightning{os.sep}" in last
    )


def _is_out_of_memory(error: Exception) -> bool:
    on_gpu = isinstance(error, torch.OutOfMemoryError)
    # torch has no class for the memory of the machine
    return on_gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def _quieten() -> None:
    for message in NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_for_users)


def _is_for_users(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("💡", "TPU available"))
