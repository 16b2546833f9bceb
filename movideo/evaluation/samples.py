"""Videos that a test has made, on disk: a run that was stopped makes only what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from movideo.errors import UserError
from movideo.storage.atomic import whole_file
from movideo.storage.paths import inside
from movideo.video.decoding.pixels import to_float

RECIPE = "recipe"


class SampleFolder:
    """Tensors of samples, a file each, in a folder a method; a file that exists is whole.

    Beside its tensors each file keeps its recipe, all that it depends on, as JSON.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, method: str, name: str) -> Path:
        """The file of a sample.

        Raises:
            UserError: it would lie elsewhere; names may come from a data set's lists.
        """
        return inside(self.folder, Path(folder_name(method), f"{name}.safetensors"))

    def load(self, method: str, name: str, recipe: Mapping[str, Any]) -> dict[str, Tensor] | None:
        """A sample's tensors; None if it is still to be made.

        Raises:
            UserError: it was made by another recipe, or cannot be read.
        """
        path = self.path(method, name)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                found = json.loads((file.metadata() or {})[RECIPE])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise UserError(f"{path}: no sample of a test; move it away") from error
        for key in recipe | found:
            if found.get(key) != recipe.get(key):
                raise UserError(
                    f"{path}: made with {key} {found.get(key)}, not {recipe.get(key)}; "
                    "give another --model.out, or remove it"
                )
        return tensors

    def video(self, method: str, name: str) -> Tensor:
        """A sample's video `(F, 3, H, W)` in [-1, 1]; it must be there."""
        with safe_open(self.path(method, name), framework="pt") as file:
            return to_float(file.get_tensor("video"))

    def save(
        self, method: str, name: str, recipe: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Writes a sample.

        Raises:
            UserError: it cannot be written.
        """
        there = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        with whole_file(self.path(method, name)) as temporary:
            save_file(there, temporary, {RECIPE: json.dumps(recipe, sort_keys=True)})


def folder_name(method: str) -> str:
    """What the folder of a method is called."""
    return re.sub(r"[^\w.+-]+", "_", method)
