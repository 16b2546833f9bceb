"""Imports that are put off until they are needed, and those that are many at once."""

import atexit
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def resolver(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562).

    Args:
        package: its `__name__`.
        modules: by each name that it offers, the module below it that defines that.
    """

    def resolve(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return resolve


@contextmanager
def many_imports() -> Iterator[None]:
    """Within it, Python does not look for garbage: of what modules define nothing is.

    While a hundred packages are imported, it would look through all of them many times, for a third
    of the time; and afterwards at each collection again, in training too. At its end it looks at
    all: libraries count what is left then, and would speak of leaks.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)
        if was_enabled:
            gc.enable()
