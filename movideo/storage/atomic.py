"""Files written whole or not at all, under a temporary name first."""

import errno
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from movideo.errors import UserError
from movideo.storage.digest import hex_digest

_LONGEST_NAME = 255  # bytes, on every file system in use

_logger = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a disk, a quota or a limit that is reached."""


def hidden_beside(path: Path, ending: str) -> Path:
    """The name of a hidden file that belongs to another: `.NAME` and an ending.

    Of a name that is too long for that, its hash stands there.
    """
    hidden = f".{path.name}{ending}"
    if len(os.fsencode(hidden)) > _LONGEST_NAME:
        hidden = f".{hex_digest(os.fsencode(path.name))[:32]}{ending}"
    return path.with_name(hidden)


def cannot_write(path: str | Path, error: OSError | SafetensorError) -> UserError:
    """The error to raise where a file cannot be written: it says whether there is room."""
    number = error.errno if isinstance(error, OSError) else _number_told(str(error))
    what = os.strerror(number) if number else error
    advice = "free some space and run it again" if number in FULL else "choose another place"
    return UserError(f"{path}: cannot be written ({what}); {advice}")


def _number_told(message: str) -> int:
    """The operating system's number of an error that safetensors tells in words; 0 for none."""
    found = re.search(r"os error (\d+)", message)
    return int(found[1]) if found else 0


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; afterwards renames it, or removes it after an error.

    The temporary name follows from `path` alone: who writes the same file again overwrites what a
    killed process left. A living one holds a lock, and others wait for it to end.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    path = Path(path)
    temporary = hidden_beside(path, f".part{path.suffix}")  # the suffix tells writers the format
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(temporary), _removed_after_errors(temporary):
            yield temporary
            os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error


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
    for path in Path(folder).glob(".*.part*"):
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
        with open(path, "ab", opener=_no_link) as file, _lock(path, file.fileno(), wait):
            # Who held it before may have renamed or removed the file that was opened here.
            if _is_at(path, file.fileno()):
                yield
                return


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextmanager
def _lock(path: Path, descriptor: int, wait: bool) -> Iterator[None]:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            _logger.warning("%s: another process writes it; waiting for it to end", path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
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
