"""What lies inside a folder: nothing that others put there may lead the program out of it.

A name leads out by being absolute, by `..`, or through a symbolic link.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from movideo.errors import UserError


def is_inside(folder: str | Path, path: str | Path) -> bool:
    """Whether a path, there or not, ends inside a folder once its links are followed."""
    return first_outside(folder, [path]) is None


def first_outside(folder: str | Path, paths: Iterable[str | Path]) -> str | Path | None:
    """The first of some paths that does not end inside a folder; None if all do."""
    base = os.path.realpath(folder)
    real_folder = lru_cache(os.path.realpath)  # a million files lie in few folders
    for path in paths:
        parent, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            real = os.path.realpath(path)
        else:
            real = os.path.join(real_folder(parent), name)
        if real != base and not real.startswith(os.path.join(base, "")):
            return path
    return None


def inside(folder: str | Path, name: str | Path) -> Path:
    """`folder / name`.

    Args:
        folder: itself it may be anything, a link too.
        name: of something in it, maybe deep; it need not exist.

    Raises:
        UserError: it lies elsewhere.
    """
    path = Path(folder, name)
    if not is_inside(folder, path):
        raise UserError(
            f"{path}: leads out of {folder}; name the place that is meant instead, or take it away"
        )
    return path


def check_links(folder: str | Path) -> None:
    """Refuses a folder with links out of it, at any depth.

    In a cache of the Hugging Face hub, where all files are links, they may lead to that
    repository's other folders.

    Raises:
        UserError: names the first such link.
    """
    folder = Path(folder)
    home = _repository(folder.absolute()) or folder
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in sorted(folders + files)):
            if path.is_symlink() and not is_inside(home, path):
                raise UserError(
                    f"{path}: a link out of {folder}; put what is meant in its place, or remove it"
                )


def _repository(folder: Path) -> Path | None:
    """`models--owner--name` of `models--owner--name/snapshots/COMMIT/...`."""
    for place in folder.parents:
        if place.name == "snapshots" and place.parent.name.startswith("models--"):
            return place.parent
    return None
