"""What the benchmarks of networks share: turns, medians, operations, memory, machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

KINDS = ("forward", "training")


@dataclass
class Candidate:
    """One network, called without arguments, and its measured seconds."""

    network: nn.Module
    call: Callable[[], Tensor]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def forward(self) -> Tensor:
        """One forward pass without gradients."""
        with torch.no_grad():
            return self.call()

    def training(self) -> None:
        """Forward and backward pass."""
        self.network.zero_grad(set_to_none=True)
        self.call().square().mean().backward()

    def measure(self, what: str) -> None:
        """Times one call of `what`, `forward` or `training`."""
        start = time.perf_counter()
        getattr(self, what)()
        self.seconds[what].append(time.perf_counter() - start)

    def median(self, what: str) -> float:
        """Median seconds of `what`."""
        return statistics.median(self.seconds[what])

    def parameters(self) -> float:
        """Parameters in millions."""
        return sum(p.numel() for p in self.network.parameters()) / 1e6

    def gigaflop(self) -> float:
        """Floating point operations of a forward pass, counted by torch, in 1e9."""
        with FlopCounterMode(display=False) as counter:
            self.forward()
        return float(counter.get_total_flops()) / 1e9


def run(candidates: Mapping[str, Candidate], rounds: int) -> None:
    """Measures every candidate once a round, after one call each to warm up.

    In turns, so that other load on the machine falls on all alike.
    """
    for what in KINDS:
        for candidate in tqdm(candidates.values(), desc=f"{what}, warm-up"):
            getattr(candidate, what)()
        for _ in tqdm(range(rounds), desc=what):
            for candidate in candidates.values():
                candidate.measure(what)


def peak_memory(build: Callable[[], Mapping[str, Candidate]], name: str, what: str) -> float:
    """Memory that one call needs beyond the networks themselves, in MB.

    The peak of a process of its own, as Linux counts it.

    Args:
        build: makes the candidates; importable.
        name: the candidate's.
        what: `forward` or `training`.
    """
    with get_context("spawn").Pool(1) as pool:
        return float(pool.apply(_peak_memory, (build, name, what)))


def _peak_memory(build: Callable[[], Mapping[str, Candidate]], name: str, what: str) -> float:
    candidate = build()[name]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from here
    before = _resident_peak()
    getattr(candidate, what)()
    return _resident_peak() - before


def _resident_peak() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) / 1024


class _Peak(MemTracker):
    """Without the account of each module, in which every module is called once.

    A perceptual network sees two videos.
    """

    def _pre_fw_hook(self, *_: Any) -> None:
        pass

    _post_fw_hook = _pre_bw_hook = _post_bw_hook = _pre_fw_hook


def tensor_peak(module: nn.Module, call: Callable[[], object]) -> int:
    """Bytes of tensors alive at most during a call that runs the module, its weights included.

    Exact, and the same in every run; what an operation takes within itself is not seen.
    """
    tracker = _Peak()
    tracker.track_external(module)
    with tracker:
        call()
    peaks: dict[Any, dict[str, int]] = tracker.get_tracker_snapshot("peak")
    return sum(device["Total"] for device in peaks.values())


def machine() -> str:
    """One line on where and with what this ran."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    names = [line.split(": ")[1] for line in text.splitlines() if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads of "
        f"{os.cpu_count()} cores, torch {torch.__version__}, diffusers {diffusers.__version__}, "
        f"{date.today()}."
    )
