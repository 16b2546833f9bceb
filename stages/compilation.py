"""`torch.compile` as a switch of the trainer."""

from __future__ import annotations

from collections.abc import Sequence

import lightning as L
from torch import nn

from movideo.errors import UserError


class Compile(L.Callback):
    """Compiles parts of a stage in place, so that checkpoints do not change.

    The first steps take minutes; validation and test, whose shapes are others, compile anew.

    Args:
        parts: the stage's parts by name, such as `unet` or `decoder`.
        backend: torch's name of the compiler.

    Raises:
        UserError: when a run starts, the stage has no such part.
    """

    def __init__(self, parts: Sequence[str] = ("unet",), backend: str = "inductor") -> None:
        self.parts = tuple(parts)
        self.backend = backend

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Compiles on the first call of each part."""
        children = dict(pl_module.named_children())
        for name in self.parts:
            part = children.get(name)
            if not isinstance(part, nn.Module):
                raise UserError(
                    f"stages.compilation.Compile: parts {name}, but {type(pl_module).__name__} has "
                    f"only {', '.join(children)}"
                )
            part.compile(backend=self.backend)
