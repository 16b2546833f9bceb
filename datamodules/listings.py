"""The lists that data sets come with."""

from __future__ import annotations

from pathlib import Path

from movideo.errors import UserError


def read_lines(path: Path, layout: str) -> list[str]:
    """The lines of a data set's list that are not empty.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    lines = read_listing(path, layout).split("\n")
    return [line.strip() for line in lines if line.strip()]


def read_listing(path: Path, layout: str) -> str:
    """The text of a data set's list.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); data.folder holds {layout}"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text; unpack it again") from error
