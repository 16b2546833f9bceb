"""Where and with what a report was made."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import torch

import movideo
from movideo.metrics.base import Description
from movideo.storage.digest import hex_digest

PACKAGES = (
    "movideo",
    "torch",
    "torchvision",
    "torchmetrics",
    "lightning",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "kornia",
    "opencv-python-headless",
    "av",
    "pillow",
    "numpy",
)


@dataclass(frozen=True)
class Software:
    """What a report's numbers were computed with.

    Attributes:
        python: its version.
        packages: the version of each; those that are not installed are left out.
        commit: of the code, with `-dirty` after it where files differ from it; None where movideo
            does not run from a checkout.
    """

    python: str
    packages: dict[str, str]
    commit: str | None

    @classmethod
    def here(cls) -> Self:
        """What this process runs."""
        return cls(platform.python_version(), dict(_versions()), code_commit())


@dataclass(frozen=True)
class Run:
    """What differs between equal runs.

    Attributes:
        host: name of the machine.
        device: such as `cpu` or `cuda: NVIDIA H100`.
        processes: how many took part.
        ended: UTC, ISO 8601.
        seconds: what the run took.
    """

    host: str
    device: str
    processes: int
    ended: str
    seconds: float

    @classmethod
    def ending_now(cls, device: torch.device, seconds: float, processes: int = 1) -> Self:
        """Of a run on this machine that ends now.

        Args:
            device: that it ran on.
            seconds: what it took.
            processes: how many took part.
        """
        name = str(device.type)
        if device.type == "cuda":
            name += f": {torch.cuda.get_device_name(device)}"
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), name, processes, ended, seconds)


def _versions() -> list[tuple[str, str]]:
    found = [("movideo", movideo.__version__)]  # also where it is not installed
    for package in PACKAGES[1:]:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return found


def code_commit(package: str | Path = Path(movideo.__file__).parent) -> str | None:
    """The commit of the checkout that a package lies in, at its top level.

    An installed package may lie in somebody else's checkout: that one says nothing about it.

    Args:
        package: its folder.
    """
    package = Path(package).resolve()
    if _git(package, "rev-parse", "--show-prefix") != f"{package.name}/":
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    # What a hook of another repository exports would lead there.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env=environment, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git, or no checkout
        return None
    return done.stdout.strip() or None


def of_clips_seen(data: Description, names: Collection[str]) -> Description:
    """The protocol of a data set, as far as it was measured: a test may be limited to some batches.

    Args:
        data: the protocol of all of it, with `samples` and `sample list`.
        names: of the clips that were measured.
    """
    if len(names) == data.get("samples", len(names)):
        return dict(data)
    return {
        **data,
        "samples": len(names),
        "sample list": hex_digest("\n".join(sorted(names)))[:16],
        "samples of the data set": data["samples"],
    }
