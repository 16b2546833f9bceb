"""Files written whole or not at all, under a temporary name first."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from movideo.errors import UserError

_TEMPORARY = ".{name}.part{suffix}"
"""Beside the file and hidden; the suffix tells writers the format."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; afterwards renames it, or removes it after an error.

    The temporary name follows from `path` alone: who writes the same file again overwrites what a
    killed process left. A living one holds a lock, and others wait for it to end.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    path = Path(path)
    temporary = path.with_name(_TEMPORARY.format(name=path.name, suffix=path.suffix))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(temporary), _removed_after_errors(temporary):
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        what = error.strerror or error
        raise UserError(f"{path}: cannot be written ({what}); choose another place") from error


def check_writable(path: str | Path) -> None:
    """Finds out before long work that its result could not be written.

    Raises:
        UserError: the place is a folder, or its folder cannot be made or written to.
    """
    if os.path.isdir(path):  # unlike Path.is_dir, it never raises
        raise UserError(f"{path}: a folder; name a file in it")
    with suppress(_EnoughError), whole_file(path):
        raise _EnoughError  # the temporary file was made; it goes again, and what is there stays


class _EnoughError(Exception):
    pass


def remove_leftovers(folder: str | Path) -> None:
    """Removes the temporary files of killed processes from a folder; those of living ones stay."""
    for path in Path(folder).glob(_TEMPORARY.format(name="*", suffix="*")):
        with suppress(OSError), _locked(path, wait=False):
            path.unlink()


@contextmanager
def _removed_after_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):  # never there
            path.unlink()
        raise


@contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Holds a file, made if missing, against other processes; the kernel ends it with a kill.

    Raises:
        OSError: the file cannot be made, or, without `wait`, another process holds it.
    """
    while True:
        if path.is_symlink():  # another's, maybe: what is written shall not land where it leads
            path.unlink(missing_ok=True)
        with open(path, "ab", opener=_no_link) as file, _lock(file.fileno(), wait):
            # Who held it before may have renamed or removed the file that was opened here.
            if _is_at(path, file.fileno()):
                yield
                return


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextmanager
def _lock(descriptor: int, wait: bool) -> Iterator[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        # Some network file systems know no locks: a file is then written without, never removed.
        if not wait:
            raise
    try:
        yield
    finally:
        with suppress(OSError):
            # Closing is not enough: a process forked meanwhile has the same lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
