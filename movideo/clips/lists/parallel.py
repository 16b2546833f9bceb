"""One function over many items in processes that may die without taking the run with them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TypeVar

import cv2
import torch

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")

_AHEAD = 4  # items a worker that are handed out before their turn


def each(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    crashed: Callable[[Item], Result],
) -> Generator[tuple[Item, Result], None, None]:
    """Does `task` for every item, and gives item and result in the order they are finished in.

    Args:
        task: a function that processes can be sent: a module's own, or `functools.partial` of one.
        items: taken as they are needed, so that there may be any number; no two alike.
        workers: processes of one thread each; 1 works in this one.
        crashed: gives the result for an item at which a process dies twice.

    Closing the generator stops the work on items that no process has begun.
    """
    if workers == 1:
        yield from ((item, task(item)) for item in items)
        return
    remaining = iter(items)
    suspects: dict[Item, Future[Result] | None] = {}
    finished = False
    while not finished:
        try:
            yield from _each_in_a_pool(task, remaining, workers, suspects)
            finished = True
        except BrokenProcessPool:  # nobody says which item it was
            yield from ((item, _alone(task, item, crashed)) for item in suspects)
            suspects.clear()


def _each_in_a_pool(
    task: Callable[[Item], Result],
    items: Iterator[Item],
    workers: int,
    pending: dict[Item, Future[Result] | None],
) -> Iterator[tuple[Item, Result]]:
    """The same until a process dies; what was handed out is then left in `pending`."""
    with _pool(workers) as pool:
        while True:
            for item in islice(items, _AHEAD * workers - len(pending)):
                pending[item] = None  # handing it out fails where a process has died
                pending[item] = pool.submit(task, item)
            futures = {future: item for item, future in pending.items() if future is not None}
            if not futures:
                return
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                result = future.result()
                del pending[futures[future]]
                yield futures[future], result


def _alone(task: Callable[[Item], Result], item: Item, crashed: Callable[[Item], Result]) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(task, item).result()
        except BrokenProcessPool:
            return crashed(item)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # Not forked from here, where threads may hold locks; and torch is imported only once.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "movideo.clips.lists.rows", "scenedetect"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: without a traceback from each
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it is killed, or it would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
