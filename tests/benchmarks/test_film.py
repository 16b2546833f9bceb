"""A film that is cut into its shots."""

import io
import tarfile
import zipfile
from pathlib import Path

import torch

from benchmarks import film
from movideo.video.read import probe, read_pixels
from movideo.video.write import write_mp4

LENGTHS = 30, 25, 5, 20, 40  # frames; the third is too short for a clip
BRIGHTNESS = -0.8, 0.6, -0.2, -0.6, 0.8


def make_archive(folder: Path) -> Path:
    """A package with a zip with a film of still shots, each of its own texture and brightness."""
    textures = torch.rand(len(LENGTHS), 3, 9, 16, generator=torch.manual_seed(0)) * 0.2
    shots = [
        (brightness + texture).expand(length, -1, -1, -1)
        for length, brightness, texture in zip(LENGTHS, BRIGHTNESS, textures, strict=True)
    ]
    video = torch.nn.functional.interpolate(torch.cat(shots), scale_factor=16)
    write_mp4(folder / "film.mp4", video, 24)
    medias = io.BytesIO()
    with zipfile.ZipFile(medias, "w") as packed:
        packed.write(folder / "film.mp4", film.FILM)
    archive = folder / "package.tar.gz"
    with tarfile.open(archive, "w:gz") as package:
        member = tarfile.TarInfo(f"moviepy-2.2.1/{film.ZIP}")
        member.size = len(medias.getvalue())
        medias.seek(0)
        package.addfile(member, medias)
    return archive


def test_film_is_cut_at_its_cuts(tmp_path: Path) -> None:
    film.main(str(make_archive(tmp_path)), str(tmp_path / "training"), str(tmp_path / "unseen"))
    found = {
        f"{path.parent.name}/{path.name}": (
            len(times := probe(path).times),
            round(float(read_pixels(path, times).float().mean()), -1),
        )
        for path in sorted(tmp_path.glob("*/*.mp4"))
    }
    # The mean of a texture is 0.1 above its brightness; bytes, to the nearest ten.
    bytes_of = [round((b + 0.1 + 1) * 127.5, -1) for b in BRIGHTNESS]
    assert found == {
        "unseen/bbb_001.mp4": (25, bytes_of[1]),
        "unseen/bbb_003.mp4": (40, bytes_of[4]),
        "unseen/bbb_000.mp4": (30, bytes_of[0]),
        "training/bbb_002.mp4": (20, bytes_of[3]),
    }


def test_the_opening_and_two_shots_of_seven_are_held_out() -> None:
    assert [n for n in range(15) if film.is_held_out(n)] == [0, 1, 3, 6, 10, 13]
