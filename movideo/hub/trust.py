"""Whose code a file may name: nothing is imported because a file says so.

A checkpoint or model folder names the classes of its parts. Ours are built; another package's only
where its user says so, by `--trust PACKAGE` or `trust=`, or by installing a package that names the
class as an entry point of the group `movideo.parts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import entry_points

ENTRY_POINTS = "movideo.parts"

_trusted: ContextVar[frozenset[str]] = ContextVar("trusted", default=frozenset())


def trust(packages: Iterable[str]) -> None:
    """From now on, in this thread, classes of these packages are built where a file names them.

    Args:
        packages: top-level names, such as `user_ext`.
    """
    _trusted.set(_trusted.get() | frozenset(packages))


@contextmanager
def trusting(packages: Iterable[str]) -> Iterator[None]:
    """The same, but only within a `with` block."""
    before = _trusted.get()
    trust(packages)
    try:
        yield
    finally:
        _trusted.set(before)


def is_trusted(module: str, name: str) -> bool:
    """Whether a class may be imported: its package is trusted, or an entry point names it.

    Args:
        module: where it is defined, `user_ext.models`.
        name: of the class.
    """
    if module.partition(".")[0] in _trusted.get():
        return True
    return any(point.value == f"{module}:{name}" for point in entry_points(group=ENTRY_POINTS))
