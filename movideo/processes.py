"""What the processes of one run tell each other, where there are several."""

from __future__ import annotations

from typing import TypeVar

from torch import distributed

Value = TypeVar("Value")


def world_size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if _is_one_of_several() else 1


def rank() -> int:
    """Which of them this one is."""
    return distributed.get_rank() if _is_one_of_several() else 0


def all_gather_objects(value: Value) -> list[Value]:
    """What each process has, in the order of their ranks; each has to call this."""
    if not _is_one_of_several():
        return [value]
    everyones = [value] * distributed.get_world_size()
    distributed.all_gather_object(everyones, value)
    return everyones


def gather_objects(value: Value) -> list[Value]:
    """What each process has, on the first alone, elsewhere nothing; each has to call this."""
    if not _is_one_of_several():
        return [value]
    everyones = [value] * distributed.get_world_size() if rank() == 0 else None
    distributed.gather_object(value, everyones)
    return everyones or []


def of_first(value: Value) -> Value:
    """What the first process has; each has to call this."""
    if not _is_one_of_several():
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def _is_one_of_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
