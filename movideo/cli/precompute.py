"""`movideo precompute`: labels ahead of training, shared by any number of processes."""

from __future__ import annotations

import os
from typing import Any

from datamodules import VideoClipDataModule
from movideo.cli.parser import UserArgumentParser
from movideo.errors import UserError

SHORT_FORMS = {"--videos": "--data.videos", "--labels": "--data.data_dir"}
# What else a stage's config holds, and the config that a run leaves in its log.
OTHER_SECTIONS = (
    "seed_everything",
    "model",
    "trainer",
    "optimizer",
    "lr_scheduler",
    "ckpt_path",
    "weights_only",
)
RANK_VARIABLES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def run_precompute(arguments: list[str]) -> None:
    """Estimates the labels that the data section of a config asks for.

    Raises:
        UserError: the arguments or what they name cannot be used.
    """
    data: VideoClipDataModule = _parser().build([_long(name) for name in arguments])["data"]
    rank, world_size = _rank()
    failed = data.precompute_all(rank, world_size)
    share = f" (share {rank + 1} of {world_size})" if world_size > 1 else ""
    left = f"; {len(failed)} clips failed" if failed else ""
    print(f"labels in {data.label_dir}{share}{left}")


def _parser() -> UserArgumentParser:
    parser = UserArgumentParser(
        prog="movideo precompute",
        description="Estimates depth and flow labels. --videos and --labels are short for "
        "--data.videos and --data.data_dir. Processes with RANK and WORLD_SIZE (or SLURM's "
        "variables) set share the work.",
    )
    parser.add_argument(
        "-c", "--config", action="config", help="A stage's config; its data section counts."
    )
    parser.add_class_arguments(VideoClipDataModule, "data")
    for name in OTHER_SECTIONS:
        parser.add_argument(f"--{name}", type=Any, default=None, help="Not used here.")
    return parser


def _long(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return SHORT_FORMS.get(name, name) + equals + value


def _rank() -> tuple[int, int]:
    for rank, world_size in RANK_VARIABLES:
        if rank in os.environ and world_size in os.environ:
            try:
                return int(os.environ[rank]), int(os.environ[world_size])
            except ValueError as error:
                raise UserError(f"{rank}={os.environ[rank]}: not a number; unset it") from error
    return 0, 1
