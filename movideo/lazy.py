"""Packages whose names resolve on first use, so that nothing loads what it does not need."""

from collections.abc import Callable, Mapping
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
