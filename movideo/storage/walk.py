"""The files of a folder and its subfolders; what is passed over is said in one line."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Container, Iterator
from pathlib import Path

_NOT_CONTENT = frozenset(("$recycle.bin", "system volume information", "__macosx", "lost+found"))
"""Folders that systems put among other files, beside those whose names begin with a dot."""

_logger = logging.getLogger(__name__)


def walk_files(folder: Path, suffixes: Container[str]) -> Iterator[Path]:
    """Files below a folder that have one of the suffixes, sorted, while folders are being searched.

    Links are followed, also to folders; a folder is entered once, however many links lead to it.
    Hidden files and folders, those of a system's trash, links that lead nowhere and what may not be
    looked at are passed over. A warning counts these at the end, but for hidden files.

    Args:
        folder: searched with its subfolders; no more names than one folder's are held a level.
        suffixes: in small letters, with the dot.
    """
    left_out: Counter[str] = Counter()
    examples: dict[str, str] = {}

    def leave_out(path: str, why: str) -> None:
        left_out[why] += 1
        examples.setdefault(why, path)

    yield from _walk(str(folder), suffixes, set(), leave_out)
    if left_out:
        kinds = "; ".join(
            f"{why} ({count}, such as {examples[why]})" for why, count in left_out.most_common()
        )
        _logger.warning("%s: left out: %s", folder, kinds)


def _walk(
    folder: str,
    suffixes: Container[str],
    entered: set[tuple[int, int]],
    leave_out: Callable[[str, str], None],
) -> Iterator[Path]:
    try:
        status = os.stat(folder)
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        leave_out(folder, f"not to be opened, {_what(error)}")
        return
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    for entry in entries:
        is_wanted = os.path.splitext(entry.name)[1].lower() in suffixes
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:  # of a link: its target may not be looked at
            leave_out(entry.path, f"not to be opened, {_what(error)}")
            continue
        if is_folder and (entry.name.startswith(".") or entry.name.lower() in _NOT_CONTENT):
            leave_out(entry.path, "hidden folders")
        elif is_folder:
            yield from _walk(entry.path, suffixes, entered, leave_out)
        elif is_wanted and not entry.name.startswith("."):
            if is_file:
                yield Path(entry.path)
            elif entry.is_symlink():
                leave_out(entry.path, "links that lead nowhere")


def _what(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
