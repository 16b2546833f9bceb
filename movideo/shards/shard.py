"""Shards: safetensors files that hold one kind of row, such as depth and flow, of many clips.

A shard holds float16 tensors stacked over its clips, and in its metadata one JSON text that names
the clips, what made their rows, the grid of labels, the clips that could not be read, the format
version and a checksum over all of it. It is written under a temporary name and renamed, so a shard
that exists is whole; its bytes follow from the rows alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.storage.atomic import whole_file
from movideo.storage.paths import inside

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, FORMAT_VERSION)  # the first had no checksum
SUFFIX = ".safetensors"
METADATA_KEY = "movideo_labels"
CHECKSUM = "sha256"

_KEY = re.compile("[0-9a-f]{64}")


class DamagedShard(UserError):
    """A file among shards that is not whole, or no shard at all."""


@dataclass(frozen=True)
class Row:
    """What a shard holds of one clip, or stacked of many; a subclass has a tensor in each field.

    Attributes:
        noun: what people call it; also the name of the folder that such shards are made in.
    """

    noun: ClassVar[str]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed."""
        return type(self)(**{name: change(tensor) for name, tensor in vars(self).items()})

    def stored(self) -> Self:
        """As shards hold it: float16."""
        return self.mapped(Tensor.half)

    @property
    def grid(self) -> tuple[int, int] | None:
        """Height and width that it is stored at, where that is a choice."""
        return None


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True)
class ClipLabels(Row):
    """Raw depth and raw pixel flow of one clip, never normalised.

    Attributes:
        depth: `(F, 1, h, w)`, relative inverse depth (near is large), as the estimator gave it.
        flow_i2v: `(F, 2, h, w)`, pixels of this grid, on the grid of each frame, pointing into the
            key frame.
        flow_v2i: `(F, 2, h, w)`, pixels of this grid, on the key frame's grid, pointing into each
            frame.
        depth_alignment: `(F, 2)`, scale and shift that bring each frame's depth to the key frame's.
    """

    noun = "labels"

    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor
    depth_alignment: Tensor

    @property
    def aligned_depth(self) -> Tensor:
        """Depth without the estimator's flicker, `(F, 1, h, w)`."""
        scale, shift = self.depth_alignment.view(-1, 2, 1, 1, 1).unbind(dim=1)
        return self.depth * scale + shift

    def stored(self) -> Self:
        """As shards hold it: float16, but for the alignment, whose rounding would shift a frame."""
        return replace(super().stored(), depth_alignment=self.depth_alignment.float())

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width that the labels are stored at."""
        height, width = self.depth.shape[-2:]
        return height, width


def identity_alignment(num_frames: int) -> Tensor:
    """The alignment of a depth that does not flicker: `(F, 2)`, scale 1 and shift 0."""
    return torch.tensor([1.0, 0.0]).repeat(num_frames, 1)


def write_shard(
    path: str | Path,
    clips: Sequence[Clip],
    rows: Sequence[Row],
    estimators: Mapping[str, Any],
    failed: Mapping[str, str] | None = None,
) -> None:
    """Writes the rows of some clips as one file that is either whole or not there.

    Args:
        path: where to; an existing file is replaced, missing folders are made.
        clips: whose rows. All have the same number of frames.
        rows: of each clip, all of one kind and one shape.
        estimators: what made the rows, plain JSON values.
        failed: keys of clips that no row could be made of, with the reason.

    Raises:
        UserError: the file cannot be written.
    """
    header = {
        "version": FORMAT_VERSION,
        "estimators": dict(estimators),
        "grid": rows[0].grid if rows else None,
        "rows": [{**clip.to_dict(), "key": clip.key} for clip in clips],
        "failed": dict(failed or {}),
    }
    tensors = _stack(rows) if rows else {}
    header[CHECKSUM] = _checksum(header, tensors)
    # Not `save_file`, which has a temporary file of its own that a kill would leave.
    content = save(tensors, {METADATA_KEY: json.dumps(header, sort_keys=True)})
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # on the disk before it gets its name, or a power cut hollows it


def _stack(rows: Sequence[Row]) -> dict[str, Tensor]:
    stored = [vars(row.stored()) for row in rows]
    # Stacking keeps the strides of permuted rows.
    return {name: torch.stack([row[name] for row in stored]).contiguous() for name in stored[0]}


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header without its checksum and the tensors, by name."""
    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def find_shards(directory: str | Path) -> Iterator[Path]:
    """The shards in a folder by name, none if it does not exist; hidden files are being written.

    Raises:
        UserError: one is a link out of the folder.
    """
    paths = sorted(Path(directory).glob(f"*{SUFFIX}"))
    return (inside(directory, path.name) for path in paths if not path.name.startswith("."))


def read_header(path: Path) -> dict[str, Any]:
    """What a shard says of itself: `version`, `estimators`, `grid`, `rows` and `failed`.

    A file that was cut or appended to is noticed; flipped bits are not, see `verify_shard`.

    Raises:
        DamagedShard: it is not whole, or no shard.
        UserError: it is of another format version.
    """
    try:
        with safe_open(path, framework="pt") as shard:
            header: dict[str, Any] = json.loads((shard.metadata() or {})[METADATA_KEY])
        version = header["version"]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise corrupt(path, error) from error
    if version not in READABLE_VERSIONS:
        raise UserError(
            f"{path}: shard format {version}, this movideo reads {FORMAT_VERSION}; remove the file"
        )
    if not _is_header(header):
        raise corrupt(path, "its header is none")
    return header


def _is_header(header: dict[str, Any]) -> bool:
    """Whether the parts that the program relies on are what `write_shard` makes them."""
    rows, failed, grid = (header.get(name) for name in ("rows", "failed", "grid"))
    return (
        isinstance(header.get("estimators"), dict)
        and isinstance(rows, list)
        and all(isinstance(row, dict) and _KEY.fullmatch(str(row.get("key"))) for row in rows)
        and isinstance(failed, dict)
        and all(isinstance(reason, str) for reason in failed.values())
        and (grid is None or (isinstance(grid, list) and [*map(type, grid)] == [int, int]))
    )


def verify_shard(path: Path) -> dict[str, Any]:
    """Reads all of a shard and compares its checksum, where it has one; gives the header.

    Raises:
        DamagedShard: it is not what was written.
        UserError: it is of another format version.
    """
    header = read_header(path)
    try:
        with safe_open(path, framework="pt") as shard:
            tensors = {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise corrupt(path, error) from error
    content = {name: value for name, value in header.items() if name != CHECKSUM}
    if header["version"] > 1 and header.get(CHECKSUM) != _checksum(content, tensors):
        raise corrupt(path, "its checksum differs")
    return header


def corrupt(path: Path, reason: Exception | str) -> DamagedShard:
    """What to raise for a file that is no readable shard."""
    return DamagedShard(
        f"{path}: not a readable shard ({reason}); remove it and `movideo precompute` makes it anew"
    )
