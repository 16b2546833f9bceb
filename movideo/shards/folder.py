"""A folder of shards: which clip belongs to which shard, and what has been made already."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.shards.shard import DamagedShard, find_shards, read_header

SHARD_SIZE = 64
"""Most clips in a shard: 64 clips of 17 frames of 64x64 labels are 45 MB."""

SHARDS = 128
"""A folder of fewer than `SHARD_SIZE` times as many clips has about this many, smaller shards: 16
processes then have 8 each, so that none works more than an eighth longer than the others."""

_logger = logging.getLogger(__name__)


def deal_clips(clips: Iterable[Clip], shard_size: int = SHARD_SIZE) -> list[list[Clip]]:
    """Shares clips out to shards: those of one shape together, in the order of their keys.

    A pure function of the set of clips, whatever the number of processes.
    """

    def shape(clip: Clip) -> tuple[int, tuple[int, int]]:
        return clip.num_frames, clip.size

    by_key = {clip.key: clip for clip in clips}
    ordered = [by_key[key] for key in sorted(by_key, key=lambda key: (shape(by_key[key]), key))]
    size = min(shard_size, max(1, len(ordered) // SHARDS))
    groups = [list(group) for _, group in groupby(ordered, key=shape)]
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


@dataclass
class ProducedClips:
    """What a folder of shards has already.

    Attributes:
        keys: of the clips that have rows.
        failed: reason by key of the clips that no row could be made of.
    """

    keys: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def __contains__(self, clip: Clip) -> bool:
        return clip.key in self.keys or clip.key in self.failed


def produced_clips(directory: str | Path, settings: Mapping[str, Any]) -> ProducedClips:
    """Finds the rows that exactly these settings made. A damaged shard counts for nothing.

    Raises:
        UserError: a shard is of another format version.
    """
    found = ProducedClips()
    for header in _headers(directory):
        if header["estimators"] == _plain(settings):
            found.keys.update(row["key"] for row in header["rows"])
            found.failed.update(header["failed"])
    return found


def produced_otherwise(
    directory: str | Path, settings: Mapping[str, Any], clips: Iterable[Clip]
) -> str | None:
    """Says in one line where rows of these clips are that other settings made, and which.

    Args:
        directory: the folder for rows of `settings`; folders beside it are those of others.
        settings: what is asked for.
        clips: whose rows are looked for.
    """
    asked, keys = _plain(settings), {clip.key for clip in clips}
    for folder in sorted(path for path in Path(directory).parent.glob("*") if path.is_dir()):
        for header in _readable_headers(folder):
            found = header["estimators"]
            if found != asked and any(row["key"] in keys for row in header["rows"]):
                return (
                    f"asked for {_only_in(asked, found)}, found {_only_in(found, asked)} "
                    f"in {folder}"
                )
    return None


def _headers(directory: str | Path) -> Iterator[dict[str, Any]]:
    for path in find_shards(directory):
        try:
            yield read_header(path)
        except DamagedShard:
            _logger.warning("%s: damaged; it is made again", path)


def _readable_headers(directory: Path) -> Iterator[dict[str, Any]]:
    for path in find_shards(directory):
        with suppress(UserError):  # of no use to anybody here, and nothing that has to be mended
            yield read_header(path)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return plain


def _only_in(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The settings of `one` that `other` has not, such as `flow.init_args.enlarge=false`."""
    there = dict(_leaves(other))
    only = [f"{name}={value}" for name, value in _leaves(one) if there.get(name) != value]
    return ", ".join(only) or "the same and more"


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value)
