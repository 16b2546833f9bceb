"""What a command costs before it does anything, in CPU time, beside the imports it cannot avoid."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Row, ratio

LIGHTNING = ("-c", "import lightning.pytorch")
BARE_FIT = ("-c", "import lightning.pytorch; from diffusers import UNet2DConditionModel")
COMMANDS = {
    "lightning": LIGHTNING,
    "bare fit": BARE_FIT,
    "--help": ("-m", "movideo", "--help"),
    "--version": ("-m", "movideo", "--version"),
    "generate --help": ("-m", "movideo", "generate", "--help"),
    "fit --print_config": ("-m", "movideo", "fit", "--config", "stage2.yaml", "--print_config"),
}
TREE = Path(__file__).resolve().parent.parent


def cpu_seconds(arguments: tuple[str, ...], folder: str) -> float:
    """Of one process and its children, user and system."""
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def rows(rounds: int) -> list[Row]:
    """Commands over imports, in turns; one round before, which fills the cache of files."""
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for name, arguments in COMMANDS.items():
                seconds = cpu_seconds(arguments, folder)
                if turn:
                    spent[name].append(seconds)
    lightning, bare = spent["lightning"], spent["bare fit"]
    return [
        ratio("--help, of importing lightning.pytorch", spent["--help"], lightning),
        ratio("--version, of the same", spent["--version"], lightning),
        ratio("generate --help, of the same", spent["generate --help"], lightning, 0.3),
        ratio(
            "fit --print_config, of importing that and a UNet",
            spent["fit --print_config"],
            bare,
            1.15,
        ),
    ]
