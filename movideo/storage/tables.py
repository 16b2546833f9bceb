"""Lists and tables as text, CSV, JSON lines or Parquet: the one place that reads them.

A column has a plain type, a cell may be empty (None). A line ends at a line feed or carriage return
alone: the other characters that Unicode counts as line ends may stand in any caption.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from movideo.errors import UserError, VideoError
from movideo.storage.atomic import whole_file

PARQUET = ".parquet"
SUFFIXES = (PARQUET, ".csv", ".jsonl")

_ROWS_PER_GROUP = 65_536  # of a Parquet file; so many are in memory at once

Row = Mapping[str, Any]
Columns = Mapping[str, type]
"""`str`, `int`, `float` or `bool` by name, in the order of the columns."""


def check_table(path: str | Path) -> None:
    """Makes sure that a table of that name can be written here.

    Raises:
        UserError: the suffix is none of `SUFFIXES`, or pyarrow is missing for Parquet.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: no format of that suffix; end it in {', '.join(SUFFIXES)}")
    if suffix == PARQUET:
        _pyarrow(path)


def _pyarrow(path: str | Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{path}: Parquet needs pyarrow; run: pip install 'movideo[index]', "
            "or use a list in .csv or .jsonl"
        ) from error
    return pyarrow


# ------------------------------------------------------------------------------------------ writing


def write_table(path: str | Path, columns: Columns, rows: Iterable[Row]) -> None:
    """Writes a table; the same rows give the same bytes.

    Args:
        path: ends in one of `SUFFIXES`; its folders are made.
        columns: of the table.
        rows: taken one by one, so that they need not all be in memory; each has all columns.

    Raises:
        UserError: see `check_table`; or the file cannot be written.
    """
    check_table(path)
    with whole_file(path) as temporary:
        _WRITERS[temporary.suffix.lower()](temporary, columns, rows)


def _write_parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> None:
    pa = _pyarrow(path)
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[type_]) for name, type_ in columns.items()])
    remaining = iter(rows)
    with pa.parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(remaining, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _write_csv(path: Path, columns: Columns, rows: Iterable[Row]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(row[name]) for name in columns])


def _cell(value: Any) -> Any:
    """True and False in the letters of JSON, as pandas and DuckDB read them."""
    return str(value).lower() if isinstance(value, bool) else value


def _write_jsonl(path: Path, columns: Columns, rows: Iterable[Row]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        for row in rows:
            line = {name: row[name] for name in columns}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


_WRITERS: dict[str, Callable[[Path, Columns, Iterable[Row]], None]] = {
    PARQUET: _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}


# ------------------------------------------------------------------------------------------ reading


def column_names(path: Path) -> list[str]:
    """The columns of a table, of JSON lines the keys of the first; none if it cannot be read.

    Raises:
        UserError: pyarrow is missing for Parquet.
        VideoError: a file of that name is no Parquet file.
    """
    suffix = path.suffix.lower()
    if suffix == PARQUET:
        return list(_open_parquet(path).schema_arrow.names)
    try:
        if suffix == ".csv":
            return next(read_csv(path), (0, []))[1]
        return list(next(read_jsonl(path), (0, {}))[1])
    except VideoError:
        return []


def read_table(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, Row]]:
    """Reads rows, each with where it stands for messages: `PATH:LINE`, or `PATH: row NUMBER`.

    Columns that the table lacks are missing in the rows too. CSV gives strings.

    Raises:
        UserError: pyarrow is missing for Parquet.
        VideoError: the file is no table of its suffix.
    """
    return _ROW_READERS[path.suffix.lower()](path, columns)


def _open_parquet(path: Path) -> Any:
    pa = _pyarrow(path)
    try:
        return pa.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise VideoError(f"{path}: not a Parquet file, or damaged; index again") from error


def _read_parquet(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, Row]]:
    file = _open_parquet(path)
    present = [name for name in columns if name in file.schema_arrow.names]
    number = 0
    try:
        for batch in file.iter_batches(columns=present):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row
    except OSError as error:
        raise VideoError(f"{path}: damaged after row {number}; index again") from error


def _read_csv(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, Row]]:
    rows = read_csv(path)
    _, header = next(rows, (0, []))
    for line, cells in rows:
        if len(cells) > len(header):
            raise VideoError(f"{path}:{line}: more values than columns; quote commas")
        yield f"{path}:{line}", dict(zip_longest(header, cells))


def _read_jsonl(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, Row]]:
    return ((f"{path}:{line}", row) for line, row in read_jsonl(path))


_ROW_READERS: dict[str, Callable[[Path, Iterable[str]], Iterator[tuple[str, Row]]]] = {
    PARQUET: _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers, stripped, but empty lines and `#` comments.

    Raises:
        VideoError: it is no text.
    """
    for number, line in _numbered(path):
        if (text := line.strip()) and not text.startswith("#"):
            yield number, text


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV, header and all, with the number of the line that each ends in.

    Raises:
        VideoError: it is no text, or a quote is not where a cell begins or ends: other rows would
            be lost in it.
    """
    line = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                line = reader.line_num
                if row:
                    yield line, row
    except csv.Error as error:
        raise VideoError(
            f"{path}:{line + 1}: not CSV ({error}); close each quote, and double those within"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _no_text(path, line + 1) from error


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines with the numbers of their lines.

    Raises:
        VideoError: it is no text, or a line is no object.
    """
    for number, line in _numbered(path):
        if not line.strip():
            continue
        try:
            yield number, dict(json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise VideoError(f"{path}:{number}: not JSON; write one object a line") from error


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise _no_text(path, number + 1) from error


def _no_text(path: Path, line: int) -> VideoError:
    return VideoError(f"{path}:{line}: cannot be read as text; save it in UTF-8")
