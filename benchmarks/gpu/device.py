"""The device that is measured: the first GPU, or the CPU where there is none."""

import gc
import resource
import statistics
import time
from collections.abc import Callable

import torch

# Dense bf16, TFLOP/s, as the makers state it for the SXM versions.
PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "B200": 2250.0}


def device() -> torch.device:
    """Where all is measured."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """The GPU's, or `CPU`."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def peak_teraflops() -> float | None:
    """What it can do in a second, if that is known."""
    return next((value for name, value in PEAKS.items() if name in device_name()), None)


def synchronize() -> None:
    """Waits until the device has nothing left to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak() -> None:
    """Frees what nobody holds; the peak of memory counts from here."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float:
    """Memory at most since then, as torch's allocator knows it; of a CPU the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def seconds(call: Callable[[], object], warm_up: int, rounds: int) -> float:
    """Median of so many calls after some to warm up."""
    taken = []
    for _ in range(warm_up + rounds):
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[warm_up:])
