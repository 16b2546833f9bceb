"""Key frames as a user names them, pictures or prompts, and as a batch of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from torch import Tensor

from movideo.errors import VideoError
from movideo.storage.tables import column_names, read_lines, read_table
from movideo.storage.walk import walk_files
from movideo.video.read import PICTURES

_TABLES = (".csv", ".jsonl")
_LONGEST = 40  # letters of a prompt in a file's name: in UTF-8 well below what file systems take


class KeyFrameBatch(TypedDict):
    """Key frames to make videos of: as pictures or as prompts.

    `name`, one string a video, no two alike; `image (B, 3, H, W)` RGB in [-1, 1], or `prompt`, one
    string a video; `fps (B,)`, `key_index (B,)`; and `num_frames` and `size` `(H, W)` of them all.
    """

    name: list[str]
    image: NotRequired[Tensor]
    prompt: NotRequired[list[str]]
    fps: Tensor
    key_index: Tensor
    num_frames: int
    size: tuple[int, int]


def list_images(images: str | Path) -> dict[str, str]:
    """Lists pictures by the names of their videos, in a stable order.

    Args:
        images: a picture, or a folder of them (searched as `walk_files` does).

    Returns:
        Paths by their stems, with the subfolder before them.

    Raises:
        VideoError: nothing is there, no picture is in the folder, or two would have one name.
    """
    root = Path(images)
    if not root.exists():
        raise VideoError(f"{root}: no such file or folder; check the path")
    paths = list(walk_files(root, PICTURES)) if root.is_dir() else [root]
    if not paths:
        raise VideoError(
            f"{root}: no picture in this folder; put files ending in {' '.join(sorted(PICTURES))} "
            "there"
        )
    named: dict[str, str] = {}
    for path in paths:
        inside = path.relative_to(root) if root.is_dir() else Path(path.name)
        name = inside.with_suffix("").as_posix()
        if name in named:
            raise VideoError(
                f"{path}: its video would be named as that of {named[name]}; rename it"
            )
        named[name] = str(path)
    return named


def list_prompts(prompts: str | Path) -> dict[str, str]:
    """Lists prompts by the names of their videos, in the file's order.

    Args:
        prompts: `.txt` (one a line, `#` starts a comment line), or `.csv` or `.jsonl` with a column
            `prompt`.

    Returns:
        Prompts by number and first words, such as `00002_a-red-fox`. The number is that of the line
        or row: lines added at the end rename nothing.

    Raises:
        VideoError: the file is missing, of another kind or names no prompt, or a row has none.
    """
    path = Path(prompts)
    if not path.is_file():
        raise VideoError(f"{path}: no such file; check the path")
    suffix = path.suffix.lower()
    if suffix not in (".txt", *_TABLES):
        raise VideoError(f"{path}: no list of prompts; end it in .txt, .csv or .jsonl")
    numbered = _column(path) if suffix in _TABLES else read_lines(path)
    named = {f"{number:05d}_{_slug(prompt)}".rstrip("_"): prompt for number, prompt in numbered}
    if not named:
        raise VideoError(f"{path}: holds no prompt; write one a line")
    return named


def _column(path: Path) -> Iterator[tuple[int, str]]:
    names = column_names(path)
    if names and "prompt" not in names:
        raise VideoError(
            f"{path}: no column prompt; rename the one that has them: {', '.join(names)}"
        )
    for number, (where, row) in enumerate(read_table(path, ["prompt"]), start=1):
        prompt: Any = row.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise VideoError(f"{where}: no prompt; give one in the column `prompt` or remove it")
        yield number, prompt.strip()


def _slug(prompt: str) -> str:
    """The first words in letters that file names may have anywhere."""
    return re.sub(r"\W+", "-", prompt.lower())[:_LONGEST].strip("-")
