"""Cuts a film into its shots: those to train on, and those that are never trained on.

    python -m benchmarks.film ARCHIVE TRAINING HELD_OUT

The film is Big Buck Bunny, (c) copyright 2008, Blender Foundation, www.bigbuckbunny.org, licensed
under CC BY 3.0. It lies in the source distribution of moviepy 2.2.1, which is read as an archive
and never installed; `make film` fetches it. A file is made of each shot, small enough to be read
quickly.
"""

import io
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation

from movideo.clips.lists.shots import survey
from movideo.video.decoding.pixels import to_float
from movideo.video.read import VideoInfo, probe
from movideo.video.write import write_mp4

ZIP = "docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip"
FILM = "bbb.mp4"
SIZE = (144, 256)
QUALITY = 8  # x264: close to lossless
CREDITS = 490.0  # seconds: where they begin
SHORTEST = 17  # frames of a shot: a clip's worth
CREDIT = (
    "Frames of *Big Buck Bunny*, © 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0, "
    "made smaller."
)


def main(archive: str, training: str, held_out: str) -> None:
    """Writes the shots of the film in `archive` into two folders."""
    folders = Path(training), Path(held_out)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        film = _unpack(archive, Path(temporary))
        info = probe(film)
        shots = [
            (start, end)
            for start, end in survey(info).shots
            if end <= CREDITS and (end - start) * info.fps > SHORTEST - 1
        ]
        seconds = [0.0, 0.0]
        for number, frames in enumerate(_frames(film, info, shots)):
            unseen = is_held_out(number)
            video = to_float(torch.from_numpy(frames).permute(0, 3, 1, 2))
            path = folders[unseen] / f"bbb_{number:03d}.mp4"
            write_mp4(path, video, info.fps, quality=QUALITY)
            seconds[unseen] += len(frames) / info.fps
    print(f"{len(shots)} shots: {seconds[0]:.0f} s to train on, {seconds[1]:.0f} s held out")


def is_held_out(number: int) -> bool:
    """Whether a shot, by its number from 0 up, is never trained on: the opening, and two of seven.

    Whole shots, spread over the film, more than two minutes of it in all.
    """
    return number < 2 or number % 7 in (3, 6)


def _unpack(archive: str, folder: Path) -> Path:
    with tarfile.open(archive) as package:
        name = next(name for name in package.getnames() if name.endswith(ZIP))
        member = package.extractfile(name)
        assert member is not None
        with zipfile.ZipFile(io.BytesIO(member.read())) as medias:
            inner = next(name for name in medias.namelist() if Path(name).name == FILM)
            return Path(medias.extract(inner, folder))


def _frames(film: Path, info: VideoInfo, shots: list[tuple[float, float]]) -> Iterator[np.ndarray]:
    """The frames of each shot, `(F, H, W, 3)` bytes; shots ascend and do not overlap."""
    height, width = SIZE
    with av.open(str(film)) as container:
        decoded = container.decode(video=0)
        first = info.times[0]
        for start, end in shots:
            frames = []
            for frame in decoded:
                time = float(frame.time or 0.0) - first
                if start - 1e-3 <= time:
                    small = frame.reformat(
                        width, height, format="rgb24", interpolation=Interpolation.AREA
                    )
                    frames.append(small.to_ndarray())
                if time >= end - 1e-3:
                    break
            yield np.stack(frames)


if __name__ == "__main__":
    main(*sys.argv[1:])
