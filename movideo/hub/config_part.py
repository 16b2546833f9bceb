"""Parts of a model that are a handful of numbers, saved as `config.json` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from diffusers.configuration_utils import ConfigMixin


class ConfigPart(ConfigMixin):
    """A part without weights: its constructor's arguments are all there is to save."""

    config_name = "config.json"

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `config.json`."""
        self.save_config(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads what `save_pretrained` wrote."""
        part: Self = cls.from_config(cls.load_config(folder))
        return part
