"""Tables that compare ways to make videos, and the report of a test."""

from typing import TYPE_CHECKING

from movideo.lazy import resolver

if TYPE_CHECKING:
    from movideo.evaluation.methods import (
        FlowWarping,
        FrozenKeyFrame,
        Generation,
        Method,
        MethodUnavailable,
        Reconstruction,
    )

__all__ = [
    "FlowWarping",
    "FrozenKeyFrame",
    "Generation",
    "Method",
    "MethodUnavailable",
    "Reconstruction",
]

__getattr__ = resolver(
    __name__,
    {
        "FlowWarping": "methods",
        "FrozenKeyFrame": "methods",
        "Generation": "methods",
        "Method": "methods",
        "MethodUnavailable": "methods",
        "Reconstruction": "methods",
    },
)
