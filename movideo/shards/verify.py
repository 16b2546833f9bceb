"""Reads all shards of some folders and reports what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from movideo.clips.clip import Clip
from movideo.progress import Progress
from movideo.shards.shard import CHECKSUM, DamagedShard, find_shards, verify_shard

SHOWN = 10  # of the clips that are missing


@dataclass
class FolderReport:
    """What was found in one folder of shards.

    Attributes:
        folder: the folder.
        shards: number of shards that are whole.
        unchecked: how many of them are of a format without a checksum.
        size: bytes of these shards.
        keys: of the clips with rows.
        producers: what made them, one JSON text for each choice of estimators and settings.
        failed: reason by key of clips that no row could be made of.
        damaged: shards that are not what was written, with the reason.
    """

    folder: Path
    shards: int = 0
    unchecked: int = 0
    size: int = 0
    keys: set[str] = field(default_factory=set)
    producers: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The report for people."""
        unchecked = f", {self.unchecked} of an older format without checksum" * bool(self.unchecked)
        return [
            f"{self.folder}: {self.shards} shards{unchecked}, {len(self.keys)} clips, "
            f"{self.size / 1e6:.1f} MB",
            *(f"  made by {producer}" for producer in sorted(self.producers)),
            *(f"  failed: {reason}" for reason in sorted(self.failed.values())),
            *(f"  damaged: {reason}" for reason in self.damaged.values()),
        ]


def verify_folder(folder: str | Path) -> FolderReport:
    """Reads every shard of a folder in full, with a progress bar.

    Raises:
        UserError: a shard is of another format version.
    """
    report = FolderReport(Path(folder))
    for path in Progress(list(find_shards(folder)), desc="verifying", unit="shard"):
        try:
            header = verify_shard(path)
        except DamagedShard as error:
            report.damaged[path] = str(error)
            continue
        report.shards += 1
        report.unchecked += CHECKSUM not in header
        report.size += path.stat().st_size
        report.keys.update(row["key"] for row in header["rows"])
        report.producers.add(json.dumps(header["estimators"], sort_keys=True))
        report.failed.update(header["failed"])
    return report


def missing_lines(noun: str, clips: Iterable[Clip], reports: Sequence[FolderReport]) -> list[str]:
    """Says which clips are in none of the folders, neither with rows nor as failed.

    Args:
        noun: what the rows are called.
        clips: those that should be there.
        reports: on all folders where they may be.
    """
    settled = set().union(*(report.keys | report.failed.keys() for report in reports))
    clips = list(dict.fromkeys(clips))
    missing = [clip for clip in clips if clip.key not in settled]
    hint = f"; movideo precompute makes their {noun}" if missing else ""
    lines = [f"missing: {noun} of {len(missing)} of {len(clips)} clips{hint}"]
    lines += [f"  {clip.video} at {clip.start:g} s" for clip in missing[:SHOWN]]
    return [*lines, f"  and {len(missing) - SHOWN} more"] if len(missing) > SHOWN else lines
