"""The cells of one row of a list, which people may have edited: each is checked as it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from movideo.errors import VideoError
from movideo.storage.tables import Row


@dataclass(frozen=True)
class Cells:
    """A row and where it stands, to name both in errors.

    A cell may hold its value or, as in CSV, the value's text. Missing columns, None, empty text
    and what pandas writes of an empty cell among numbers (not a number) all are empty cells.

    Attributes:
        place: the file and the line or row.
        values: cells by column.
    """

    place: str
    values: Row

    def has(self, column: str) -> bool:
        """Whether a cell is filled."""
        value = self.values.get(column)
        is_nan = isinstance(value, float) and math.isnan(value)
        return value is not None and value != "" and not is_nan

    def text(self, column: str) -> str:
        """Text, stripped; of an empty cell ''.

        Raises:
            VideoError: something else stands there.
        """
        value = self.values[column] if self.has(column) else ""
        if not isinstance(value, str):
            raise self.wrong(column, "give text")
        return value.strip()

    def filled(self, column: str) -> str:
        """Text that is not empty.

        Raises:
            VideoError: there is none.
        """
        text = self.text(column)
        if not text:
            raise self.wrong(column, "fill it in or remove the row")
        return text

    def number(self, column: str) -> float:
        """A finite number.

        Raises:
            VideoError: there is none.
        """
        value = self.values.get(column)
        try:
            number = float(value) if isinstance(value, str | int | float) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise self.wrong(column, "give a number")
        return number

    def whole(self, column: str, least: int, most: int | None = None) -> int:
        """A whole number from `least` to `most`.

        Raises:
            VideoError: there is none.
        """
        number = self.number(column)
        if not number.is_integer() or number < least or (most is not None and number > most):
            upper = "or more" if most is None else f"to {most}"
            raise self.wrong(column, f"give a whole number, {least} {upper}")
        return int(number)

    def wrong(self, column: str, what_to_do: str) -> VideoError:
        """The error that names a cell."""
        value = self.values[column] if self.has(column) else "is empty"
        return VideoError(f"{self.place}: {column} {value}; {what_to_do}")
