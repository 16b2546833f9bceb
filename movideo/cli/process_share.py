"""Which share of the work, and which GPU, a process takes: from options, torchrun or SLURM."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from movideo.errors import UserError

PROCESS_VARIABLES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))
LOCAL_VARIABLES = ("LOCAL_RANK", "SLURM_LOCALID")
ARRAY_INDEX, ARRAY_FIRST, ARRAY_COUNT, ARRAY_STEP = (
    f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "COUNT", "STEP")
)


def process_share(
    rank: int | None, world_size: int | None, environment: Mapping[str, str]
) -> tuple[int, int]:
    """The index of this process and the number of processes.

    A job array multiplies: every task of it runs as many processes as torchrun or srun started.

    Args:
        rank: overrides what the environment says; together with `world_size`.
        world_size: the same.
        environment: variables of torchrun (RANK, WORLD_SIZE), of SLURM's tasks (SLURM_PROCID,
            SLURM_NTASKS) and of its job arrays (SLURM_ARRAY_TASK_ID and others).

    Raises:
        UserError: a number is missing, no number or out of range.
    """
    if rank is not None or world_size is not None:
        if rank is None or world_size is None:
            raise UserError(f"--rank {rank} --world_size {world_size}: give both or neither")
        return _checked(rank, world_size, f"--rank {rank} --world_size {world_size}")
    process, processes = _process(environment)
    task, tasks = _array_task(environment)
    return task * processes + process, tasks * processes


def take_own_gpu(environment: Mapping[str, str]) -> None:
    """Makes `cuda` mean another GPU to each of the processes of a machine; in turn if too few.

    Args:
        environment: variables of torchrun (LOCAL_RANK) or of SLURM's tasks (SLURM_LOCALID), which
            may have set that each of them sees one GPU only.

    Raises:
        UserError: one of them is no number.
    """
    if torch.cuda.is_available():
        places = [_number(environment, name) for name in LOCAL_VARIABLES if name in environment]
        torch.cuda.set_device((places or [0])[0] % torch.cuda.device_count())


def _process(environment: Mapping[str, str]) -> tuple[int, int]:
    for rank, world_size in PROCESS_VARIABLES:
        if rank in environment and world_size in environment:
            told = f"{rank}={environment[rank]} {world_size}={environment[world_size]}"
            return _checked(_number(environment, rank), _number(environment, world_size), told)
    return 0, 1


def _array_task(environment: Mapping[str, str]) -> tuple[int, int]:
    if ARRAY_INDEX not in environment or ARRAY_COUNT not in environment:
        return 0, 1
    index, count = _number(environment, ARRAY_INDEX), _number(environment, ARRAY_COUNT)
    first, step = (
        _number(environment, name, default) for name, default in ((ARRAY_FIRST, 0), (ARRAY_STEP, 1))
    )
    told = f"{ARRAY_INDEX}={index}, {count} tasks from {first} on in steps of {step}"
    position, rest = divmod(index - first, max(step, 1))
    return _checked(position if rest == 0 else -1, count, told)


def _number(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    try:
        return int(environment.get(name, default))
    except ValueError as error:
        raise UserError(f"{name}={environment[name]}: not a number; unset it") from error


def _checked(rank: int, world_size: int, told: str) -> tuple[int, int]:
    if not 0 <= rank < world_size:
        raise UserError(
            f"{told}: not a share; give --rank 0 to N - 1 and --world_size N, without gaps"
        )
    return rank, world_size
