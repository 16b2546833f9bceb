"""The rows in folders of shards, one clip at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Generic

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.shards.shard import AnyRow, ClipLabels, corrupt, find_shards, read_header

OPEN_SHARDS = 256  # mapped at once by each process; Linux allows some 65,000 mappings in all


class RowStore(Generic[AnyRow]):
    """The rows of one kind in some folders of shards, read one clip at a time.

    Only headers are read to build the index. A folder that does not exist is an empty one. A clip
    that is in several shards is taken from the first: folders in the order given, files by name.

    The index is two arrays, 72 bytes a clip, that forked workers share with their parent. A shard
    is mapped into memory when a clip of it is first asked for, by each process for itself.

    Attributes:
        kind: what the shards hold.
        failed: clips that no row could be made of: reason by clip key.
    """

    def __init__(
        self,
        kind: type[AnyRow],
        *directories: str | Path,
        estimators: Mapping[str, Any] | None = None,
    ) -> None:
        """Indexes the shards.

        Args:
            kind: what the shards hold.
            *directories: folders of shards.
            estimators: take only the rows that exactly these made; by default all.

        Raises:
            UserError: a shard is corrupt, or of another format version.
        """
        self.kind = kind
        self.failed: dict[str, str] = {}
        self._shards: list[str] = []
        self._grids: list[tuple[int, int]] = []  # of each shard
        wanted = None if estimators is None else json.loads(json.dumps(dict(estimators)))
        keys, places = [], []
        for path in (path for directory in directories for path in find_shards(directory)):
            header = read_header(path)
            if wanted is None or header["estimators"] == wanted:
                places += [(len(self._shards), row) for row in range(len(header["rows"]))]
                keys += [row["key"] for row in header["rows"]]
                self._shards.append(str(path))
                self._grids.append(tuple(header["grid"] or (0, 0)))
                self.failed.update(header["failed"])
        self._keys, first = np.unique(np.array(keys, dtype="S64"), return_index=True)
        self._places = np.array(places, dtype=np.int32).reshape(-1, 2)[first]
        self._mapped = lru_cache(OPEN_SHARDS)(partial(_map_shard, kind))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, clip: Clip) -> bool:
        return self._find(clip) is not None

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped shards: each process maps its own."""
        return {name: value for name, value in vars(self).items() if name != "_mapped"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._mapped = lru_cache(OPEN_SHARDS)(partial(_map_shard, self.kind))

    def grid(self, clip: Clip) -> tuple[int, int]:
        """Height and width that the row of a clip is stored at; zeros where that is no choice.

        Raises:
            UserError: the clip has no row.
        """
        return self._grids[self._place(clip)[0]]

    def stored(self, clip: Clip) -> AnyRow:
        """The row of one clip in its stored types; views of the mapped file, not copied.

        Raises:
            UserError: the clip has no row, or its shard cannot be read.
        """
        shard, row = self._place(clip)
        path = self._shards[shard]
        try:
            return self._mapped(path).mapped(lambda stacked: stacked[row])
        except IndexError as error:
            raise corrupt(Path(path), "it has fewer rows than it names") from error

    def get(self, clip: Clip) -> AnyRow:
        """The same in float32."""
        return self.stored(clip).mapped(Tensor.float)

    def _place(self, clip: Clip) -> tuple[int, int]:
        """The number of the shard that holds the clip, and its row there."""
        place = self._find(clip)
        if place is None:
            reason = self.failed.get(clip.key, "run `movideo precompute`")
            raise UserError(
                f"{clip.video}: no {self.kind.noun} for its clip at {clip.start:g} s; {reason}"
            )
        return place

    def _find(self, clip: Clip) -> tuple[int, int] | None:
        key = clip.key.encode()
        index = int(np.searchsorted(self._keys, key))
        if index == len(self._keys) or self._keys[index] != key:
            return None
        shard, row = self._places[index]
        return int(shard), int(row)


class LabelStore(RowStore[ClipLabels]):
    """The labels in some folders of shards; see `RowStore`."""

    def __init__(
        self, *directories: str | Path, estimators: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(ClipLabels, *directories, estimators=estimators)


def _map_shard(kind: type[AnyRow], path: str) -> AnyRow:
    """All rows of a shard, stacked; what safetensors gives are views of the file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as shard:
            return kind(**{each.name: shard.get_tensor(each.name) for each in fields(kind)})
    except (SafetensorError, OSError) as error:
        raise corrupt(Path(path), error) from error
