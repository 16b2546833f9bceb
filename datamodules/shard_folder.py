"""Rows of clips, such as their labels: what makes them, and where they are kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.shards.folder import produced_otherwise
from movideo.shards.producer import RowProducer, missing_clips, produce_rows
from movideo.shards.shard import AnyRow
from movideo.shards.store import RowStore
from movideo.storage.digest import json_digest
from movideo.storage.paths import inside

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardFolder(Generic[AnyRow]):
    """Rows that one producer makes, in a folder of their own, and those that were given.

    Attributes:
        data_dir: where that folder is.
        producer: makes the rows that are missing.
        given: folders that may hold such rows by other producers (exact labels); they come first.
    """

    data_dir: Path
    producer: RowProducer[AnyRow]
    given: Sequence[Path] = ()

    @property
    def directory(self) -> Path:
        """Where new rows go: a folder of their own for each kind and all that they depend on.

        Raises:
            UserError: a link there leads out of `data_dir`.
        """
        name = json_digest(self.producer.settings)[:8]
        return inside(self.data_dir, Path(self.producer.kind.noun, name))

    def store(self) -> RowStore[AnyRow]:
        """All rows that there are. Where none can be given, only what this very producer made."""
        made_by = None if self.given else self.producer.settings
        return RowStore(self.producer.kind, *self.given, self.directory, estimators=made_by)

    def check_all_made(self, clips: Sequence[Clip], store: RowStore[AnyRow]) -> None:
        """Refuses clips that nobody has tried to make a row of yet.

        Raises:
            UserError: there are such clips.
        """
        missing = missing_clips(clips, store)
        if not missing:
            return
        others = produced_otherwise(self.directory, self.producer.settings, missing)
        raise UserError(
            f"{self.directory}: {len(missing)} of {len(clips)} clips have no "
            f"{self.producer.kind.noun}{'' if others is None else f' ({others})'}; "
            "make them first with: movideo precompute --config YOUR_CONFIG"
        )

    def make(self, clips: Sequence[Clip], rank: int = 0, world_size: int = 1) -> dict[str, str]:
        """Makes the rows that are missing, this rank's share of them.

        Returns:
            The reason for each clip that failed, by its key.
        """
        known = RowStore(self.producer.kind, *self.given)
        return produce_rows(clips, self.directory, self.producer, rank, world_size, known=known)

    def with_rows(
        self, sources: Sequence[Sequence[Clip]], store: RowStore[AnyRow], part: str
    ) -> list[list[Clip]]:
        """Those clips of each source that have rows; one warning counts the others.

        Args:
            sources: clips of a part of the data.
            store: the rows.
            part: its name, for the warning.
        """
        having = [[clip for clip in clips if clip in store] for clips in sources]
        count, left = sum(map(len, sources)), sum(map(len, having))
        if left < count:
            logger.warning(
                "%d of %d %s clips are left out: no %s could be made of them (%s)",
                count - left, count, part, self.producer.kind.noun, self.directory,
            )  # fmt: skip
        return having
