"""Many clips in little memory that worker processes share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import overload

import numpy as np

from movideo.clips.clip import Clip


class PackedClips(Sequence[Clip]):
    """An immutable sequence of clips, kept as one text and unpacked one at a time.

    A worker shares the memory of its parent until either writes to it, and Python writes to every
    object that it looks at (reference counts, garbage collection). A list of a million clips would
    be copied into every worker page by page; two blocks of bytes stay shared.
    """

    def __init__(self, clips: Iterable[Clip]) -> None:
        rows = [json.dumps(vars(clip)).encode() for clip in clips]
        self._text = b"".join(rows)
        self._ends = np.fromiter(accumulate(map(len, rows), initial=0), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Clip: ...

    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...

    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # counts from the end and refuses what lies outside
        row = self._text[self._ends[place] : self._ends[place + 1]]
        return Clip.from_dict(json.loads(row))

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))
