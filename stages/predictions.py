"""The folder that `movideo predict` writes to: whole videos and a list of how they are made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from movideo.errors import UserError
from movideo.storage.atomic import whole_file
from movideo.storage.paths import inside

LIST = "predictions.jsonl"

Row = dict[str, Any]


class PredictionFolder:
    """Videos by name, so that a run which was stopped goes on with those that are missing.

    `predictions.jsonl` has a row for each video, made or still to be made: its `file` and all that
    it depends on. Processes that share the work write the same rows, whichever comes first.

    Args:
        folder: its place.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def video(self, name: str) -> Path:
        """The file of a video; one that exists is whole.

        Raises:
            UserError: it would lie elsewhere.
        """
        return inside(self.folder, f"{name}.mp4")

    def announce(self, settings: Mapping[str, Row]) -> list[str]:
        """Lists what is to be made.

        Args:
            settings: what each video depends on, plain values, by its name.

        Returns:
            The names of the videos that are there already.

        Raises:
            UserError: one that is there was made otherwise, or the list cannot be read or written.
        """
        rows = {self.video(name): row for name, row in settings.items()}
        path = self.folder / LIST
        with whole_file(path) as temporary:  # locks out the other processes
            listed = self._listed(path)
            made = [name for name in settings if self.video(name).is_file()]
            for file in map(self.video, made):
                self._check(file, listed.get(file, rows[file]), rows[file])
            # Of other lists before this one what was made stays.
            others = {f: row for f, row in listed.items() if f not in rows and f.is_file()}
            with open(temporary, "w", encoding="utf-8") as lines:
                for file, row in (others | rows).items():
                    named = {"file": file.relative_to(self.folder).as_posix(), **row}
                    lines.write(json.dumps(named, ensure_ascii=False) + "\n")
        return made

    def _listed(self, path: Path) -> dict[Path, Row]:
        """The rows of a list, if there is one, by the file that each is of."""
        if not path.is_file():
            return {}
        try:
            with open(path, encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
            return {inside(self.folder, row.pop("file")): row for row in rows}
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise UserError(f"{path}: not a list of predictions; move it away") from error

    def _check(self, file: Path, found: Row, wanted: Row) -> None:
        for name in wanted | found:
            if found.get(name) != wanted.get(name):
                raise UserError(
                    f"{file}: made with {name} {found.get(name)}, not {wanted.get(name)}; "
                    "give another --model.out, or remove it"
                )
