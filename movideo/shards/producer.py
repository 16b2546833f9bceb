"""Makes the rows that a folder of shards lacks, shared out to any number of processes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic

from torch import Tensor, nn

from movideo.clips.clip import Clip
from movideo.errors import VideoError
from movideo.progress import Progress
from movideo.shards.folder import SHARD_SIZE, deal_clips, produced_clips, produced_otherwise
from movideo.shards.shard import SUFFIX, AnyRow, Row, write_shard
from movideo.shards.store import RowStore
from movideo.storage.atomic import remove_leftovers
from movideo.storage.digest import json_digest

_logger = logging.getLogger(__name__)


class RowProducer(ABC, Generic[AnyRow]):
    """Makes the row of a clip.

    Attributes:
        kind: of row.
    """

    kind: type[AnyRow]

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What rows depend on besides their clip, JSON values: in each shard and in its name."""

    @property
    def networks(self) -> Sequence[nn.Module]:
        """What computes on a device; training needs its memory afterwards."""
        return ()

    @abstractmethod
    def make(self, clip: Clip) -> AnyRow:
        """Reads a clip and makes its row, on any device.

        Raises:
            VideoError: the clip cannot be read.
        """


def missing_clips(clips: Iterable[Clip], *stores: RowStore[Any]) -> list[Clip]:
    """Those that no store has rows of or knows to be unreadable, each once."""

    def settled(clip: Clip) -> bool:
        return any(clip in store or clip.key in store.failed for store in stores)

    return [clip for clip in dict.fromkeys(clips) if not settled(clip)]


def produce_rows(
    clips: Iterable[Clip],
    directory: str | Path,
    producer: RowProducer[AnyRow],
    rank: int = 0,
    world_size: int = 1,
    shard_size: int = SHARD_SIZE,
    known: RowStore[AnyRow] | None = None,
) -> dict[str, str]:
    """Makes the rows that `directory` does not have yet, shard by shard, with a progress bar.

    Which clip goes to which shard and rank follows from the set of clips alone, so ranks need not
    talk. What is finished when a run is killed is kept; the next run removes what else it left. A
    clip that cannot be read is recorded in its shard and not tried again; one warning at the end
    lists all of them. A shard that is damaged is made again. One line says so if these clips have
    rows that other settings made.

    Args:
        clips: what to make rows of.
        directory: folder of shards, made if missing; its neighbours are those of other settings.
        producer: makes the rows.
        rank: which share of the shards to make.
        world_size: number of shares.
        shard_size: most clips in a shard.
        known: rows that stand elsewhere, such as exact labels: their clips are passed over.

    Returns:
        Reason by clip key for those of this rank's clips that no row could be made of.

    Raises:
        UserError: a shard cannot be written, or is of another format version.
    """
    directory, noun = Path(directory), producer.kind.noun
    remove_leftovers(directory)
    done = produced_clips(directory, producer.settings)
    shards = deal_clips(clips, shard_size)[rank::world_size]
    own = {clip.key for shard in shards for clip in shard}
    failed = {key: reason for key, reason in done.failed.items() if key in own}
    stores = [] if known is None else [known]
    missing = [
        [clip for clip in missing_clips(shard, *stores) if clip not in done] for shard in shards
    ]
    if not done.keys:
        _warn_of_others(directory, producer, missing)
    with Progress(total=sum(map(len, missing)), desc=f"making {noun}", unit="clip") as bar:
        for shard in filter(None, missing):
            failed |= _make_shard(shard, directory, producer, bar)
    for network in producer.networks:
        network.cpu()
    if failed:
        reasons = "\n".join(sorted(failed.values()))
        _logger.warning("%d clips have no %s:\n%s", len(failed), noun, reasons)
    return failed


def _warn_of_others(
    directory: Path, producer: RowProducer[AnyRow], shards: Iterable[Sequence[Clip]]
) -> None:
    clips = (clip for shard in shards for clip in shard)
    others = produced_otherwise(directory, producer.settings, clips)
    if others is not None:
        _logger.warning("%s: %s; making new %s", directory, others, producer.kind.noun)


def _make_shard(
    clips: Sequence[Clip], directory: Path, producer: RowProducer[AnyRow], bar: Progress
) -> dict[str, str]:
    """Writes one shard and gives back the clips that failed."""
    rows: dict[Clip, Row] = {}
    failed: dict[str, str] = {}
    for clip in clips:
        try:
            rows[clip] = _checked(producer.make(clip).stored().mapped(Tensor.cpu), clip)
        except VideoError as error:
            failed[clip.key] = str(error)
        bar.update()
    name = json_digest([producer.settings, [clip.key for clip in clips]])[:16] + SUFFIX
    write_shard(directory / name, list(rows), list(rows.values()), producer.settings, failed)
    return failed


def _checked(row: AnyRow, clip: Clip) -> AnyRow:
    if not all(tensor.isfinite().all() for tensor in vars(row).values()):
        raise VideoError(f"{clip.video}: its {row.noun} are not finite in float16; remove it")
    return row
