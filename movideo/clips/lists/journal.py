"""What a run has finished, kept on disk so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from movideo.storage.atomic import cannot_write, whole_file

Stamp = tuple[int, int]
"""Size in bytes and time of modification in nanoseconds: a file with another has changed."""


def stamp(path: str | Path) -> Stamp:
    """The stamp of a file; of one that cannot be looked at, one that no file has."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


class Journal:
    """Results by file: one line of JSON each, appended as soon as there is one.

    The lines stay on disk; memory holds where each begins. A line that a kill cut off is dropped.
    Of a run that has ended, one line stays: by it the same run is known to have nothing to do.

    Args:
        path: the journal, made when there is a first result.
        settings: plain values that results depend on; a journal of others is begun anew.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._about = {"settings": settings}
        self._header = _line(self._about)
        self._file: BinaryIO | None = None
        self._places: dict[str, tuple[Stamp, int]] = {}

    def __enter__(self) -> Self:
        if self._path.is_symlink():  # another's, maybe: it would be written over where it leads
            self._path.unlink()
        if self._path.exists():
            self._file = open(self._path, "r+b")
            self._load(self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _load(self, file: BinaryIO) -> None:
        whole = 0
        if file.readline() == self._header:
            whole = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                self._places[entry["path"]] = (entry["size"], entry["mtime"]), whole
                whole += len(line)
        file.truncate(whole)
        file.seek(whole)
        if whole == 0:
            file.write(self._header)

    def knows(self, path: str, stamp: Stamp) -> bool:
        """Whether there is a result of this very file."""
        return path in self._places and self._places[path][0] == stamp

    def add(self, path: str, stamp: Stamp, result: Any) -> None:
        """Keeps a result, plain values, at once and for good."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "w+b")  # noqa: SIM115 (closed by __exit__)
            self._file.write(self._header)
        place = self._file.seek(0, os.SEEK_END)
        size, mtime = stamp
        try:
            self._file.write(_line({"path": path, "size": size, "mtime": mtime, "result": result}))
            self._file.flush()
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._places[path] = stamp, place

    def result(self, path: str) -> Any:
        """The result of a file that is known."""
        assert self._file is not None
        self._file.seek(self._places[path][1])
        return json.loads(self._file.readline())["result"]

    def finish(self, record: str) -> None:
        """Keeps nothing but what tells the run that has ended."""
        with whole_file(self._path) as temporary:
            temporary.write_bytes(_line(self._about | {"finished": record}))

    def has_finished(self, record: str) -> bool:
        """Whether a run of these settings has ended with that record."""
        line = _line(self._about | {"finished": record})
        return self._path.is_file() and self._path.read_bytes() == line


def _line(values: Any) -> bytes:
    return json.dumps(values).encode() + b"\n"
