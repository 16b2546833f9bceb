"""`movideo precompute`: labels and encodings ahead of training, shared by many processes."""

from __future__ import annotations

import os
from typing import Any

import cv2
import torch

from datamodules import VideoClipDataModule
from movideo.cli.parser import UserArgumentParser
from movideo.cli.process_share import process_share, take_own_gpu
from movideo.errors import UserError
from movideo.shards.verify import missing_lines, verify_folder
from movideo.storage.paths import inside
from movideo.visualization.previews import write_previews

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
    "trust",
    "base",
    "non_finite",
    "stall",
    "progress_log",
)
PREVIEW = "preview"  # subfolder of the folder of shards


def run_precompute(arguments: list[str]) -> None:
    """Makes the labels and encodings that the data section of a config asks for, or checks them.

    Raises:
        UserError: the arguments or what they name cannot be used, or shards are damaged.
    """
    options = _parser().build([_long(name) for name in arguments])
    data: VideoClipDataModule = options["data"]
    if options["verify"]:
        return _verify(data)
    if options["preview"] < 0:
        raise UserError(f"--preview {options['preview']}: give the number of clips to draw")
    rank, world_size = process_share(options["rank"], options["world_size"], os.environ)
    take_own_gpu(os.environ)
    # OpenCV counts threads by itself: one setting, such as OMP_NUM_THREADS=1, shall rule both.
    cv2.setNumThreads(torch.get_num_threads())
    failed = data.precompute_all(rank, world_size)
    share = f" (share {rank + 1} of {world_size})" if world_size > 1 else ""
    left = f"; {len(failed)} clips failed" if failed else ""
    made = " and ".join(f"{f.producer.kind.noun} in {f.directory}" for f, _ in data.precomputed())
    print(f"{made}{share}{left}")
    if options["preview"] and rank == 0:
        _preview(data, options["preview"])
    return None


def _verify(data: VideoClipDataModule) -> None:
    damaged = []
    for rows, clips in data.precomputed():
        folders = (*rows.given, rows.directory)
        reports = [verify_folder(folder) for folder in folders if folder.is_dir()]
        lines = [line for report in reports for line in report.lines()]
        print("\n".join([*lines, *missing_lines(rows.producer.kind.noun, clips, reports)]))
        damaged += [str(path) for report in reports for path in report.damaged]
    if damaged:
        raise UserError(
            f"{len(damaged)} damaged shards: {', '.join(damaged)}; "
            "remove them and run movideo precompute again"
        )


def _preview(data: VideoClipDataModule, count: int) -> None:
    folder = inside(data.label_dir, PREVIEW)
    paths = write_previews(folder, data.training_clips(), data.labels.store(), count)
    print(f"{len(paths)} previews in {folder}: clip, depth, flow_i2v, flow_v2i, visible mask")


def _parser() -> UserArgumentParser:
    parser = UserArgumentParser(
        prog="movideo precompute",
        description="Estimates depth and flow labels, and encodes training clips with "
        "--data.encoders. --videos and --labels are short for --data.videos and --data.data_dir. "
        "Processes share the work if torchrun or SLURM (tasks, job arrays or both) started them, "
        "or --rank and --world_size are given.",
    )
    parser.add_argument(
        "-c", "--config", action="config", help="A stage's config; its data section counts."
    )
    parser.add_argument("--rank", type=int | None, help="Index of this process, from 0.")
    parser.add_argument("--world_size", type=int | None, help="Number of processes.")
    parser.add_argument(
        "--verify", action="store_true", help="Make nothing: read all shards and report."
    )
    parser.add_argument(
        "--preview", type=int, default=0, help="Number of clips to draw with their labels."
    )
    parser.add_subclass_arguments(VideoClipDataModule, "data")
    kind = VideoClipDataModule
    parser.set_defaults({"data": {"class_path": f"{kind.__module__}.{kind.__name__}"}})
    for name in OTHER_SECTIONS:
        parser.add_argument(f"--{name}", type=Any, default=None, help="Not used here.")
    return parser


def _long(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return SHORT_FORMS.get(name, name) + equals + value
