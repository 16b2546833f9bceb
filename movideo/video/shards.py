"""Label shards: safetensors files that hold the depth and flow of many clips.

A shard holds float16 tensors stacked over its clips, and in its metadata one JSON text that names
the rows, what made the labels, their grid, the clips that could not be labelled, and the format
version. It is written under a temporary name and renamed, so a shard that exists is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from movideo.errors import UserError
from movideo.video.clips import Clip
from movideo.video.write import whole_file

FORMAT_VERSION = 1
SUFFIX = ".safetensors"
METADATA_KEY = "movideo_labels"


@dataclass(frozen=True)
class ClipLabels:
    """Raw depth and raw pixel flow of one clip, never normalised.

    Attributes:
        depth: `(F, 1, h, w)`, relative inverse depth (near is large), as the estimator gave it.
        flow_i2v: `(F, 2, h, w)`, pixels of this grid, on the grid of each frame, pointing into the
            key frame.
        flow_v2i: `(F, 2, h, w)`, pixels of this grid, on the key frame's grid, pointing into each
            frame.
        depth_alignment: `(F, 2)`, scale and shift that bring each frame's depth to the key frame's.
    """

    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor
    depth_alignment: Tensor

    @property
    def aligned_depth(self) -> Tensor:
        """Depth without the estimator's flicker, `(F, 1, h, w)`."""
        scale, shift = self.depth_alignment.view(-1, 2, 1, 1, 1).unbind(dim=1)
        return self.depth * scale + shift

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
    labels: Sequence[ClipLabels],
    estimators: Mapping[str, Any],
    failed: Mapping[str, str] | None = None,
) -> None:
    """Writes the labels of some clips as one file that is either whole or not there.

    Args:
        path: where to; an existing file is replaced, missing folders are made.
        clips: the rows. All have the same number of frames.
        labels: the labels of each row, all on one grid.
        estimators: what made the labels, plain JSON values.
        failed: keys of clips that could not be labelled, with the reason.

    Raises:
        UserError: the file cannot be written.
    """
    header = {
        "version": FORMAT_VERSION,
        "estimators": dict(estimators),
        "grid": labels[0].grid if labels else None,
        "rows": [{**clip.to_dict(), "key": clip.key} for clip in clips],
        "failed": dict(failed or {}),
    }
    tensors = _stack(labels) if labels else {}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, {METADATA_KEY: json.dumps(header, sort_keys=True)})
        with open(
            temporary, "rb"
        ) as file:  # on the disk before it gets its name, or a power cut leaves a hollow file
            os.fsync(file.fileno())


def _stack(labels: Sequence[ClipLabels]) -> dict[str, Tensor]:
    """Float16, except for the alignment: its rounding would shift a whole frame."""
    tensors = {}
    for name in (each.name for each in fields(ClipLabels)):
        dtype = torch.float32 if name == "depth_alignment" else torch.float16
        rows = torch.stack([getattr(row, name).to(dtype) for row in labels])
        tensors[name] = rows.contiguous()  # stacking keeps the strides of permuted rows
    return tensors


@dataclass
class LabelStore:
    """The labels in some folders of shards, read one clip at a time.

    Only headers are read to build the index. A folder that does not exist is an empty one. A clip
    that is in several shards is taken from the first: folders in the order given, files by name.

    Attributes:
        failed: clips that could not be labelled: reason by clip key.
    """

    _rows: dict[str, tuple[Path, int]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __init__(
        self, *directories: str | Path, estimators: Mapping[str, Any] | None = None
    ) -> None:
        """Indexes the shards.

        Args:
            *directories: folders of shards.
            estimators: take only the labels that exactly these made; by default all.

        Raises:
            UserError: a shard is corrupt, or of another format version.
        """
        self._rows, self.failed = {}, {}
        wanted = None if estimators is None else json.loads(json.dumps(dict(estimators)))
        for directory in directories:
            for path in _shards_in(Path(directory)):
                header = read_header(path)
                if wanted is None or header["estimators"] == wanted:
                    self._add(path, header)

    def _add(self, path: Path, header: dict[str, Any]) -> None:
        for index, row in enumerate(header["rows"]):
            self._rows.setdefault(row["key"], (path, index))
        self.failed.update(header["failed"])

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, clip: Clip) -> bool:
        return clip.key in self._rows

    def get(self, clip: Clip) -> ClipLabels:
        """The labels of one clip, float32; nothing else of the shard is read.

        Raises:
            UserError: the clip has no labels, or its shard cannot be read.
        """
        if clip not in self:
            reason = self.failed.get(clip.key, "run `movideo precompute`")
            raise UserError(f"{clip.video}: no labels for its clip at {clip.start:g} s; {reason}")
        path, index = self._rows[clip.key]
        try:
            with safe_open(path, framework="pt") as shard:
                return ClipLabels(
                    **{each.name: _row(shard, each.name, index) for each in fields(ClipLabels)}
                )
        except (SafetensorError, OSError) as error:
            raise _corrupt(path, error) from error


def _row(shard: Any, name: str, index: int) -> Tensor:
    row: Tensor = shard.get_slice(name)[index : index + 1]
    return row[0].float()


def read_header(path: Path) -> dict[str, Any]:
    """What a shard says of itself: `version`, `estimators`, `grid`, `rows` and `failed`.

    Raises:
        UserError: it is corrupt, no label shard, or of another format version.
    """
    try:
        with safe_open(path, framework="pt") as shard:
            header: dict[str, Any] = json.loads((shard.metadata() or {})[METADATA_KEY])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise _corrupt(path, error) from error
    if header["version"] != FORMAT_VERSION:
        version = header["version"]
        raise UserError(
            f"{path}: label format {version}, this movideo reads {FORMAT_VERSION}; remove the file"
        )
    return header


def _shards_in(directory: Path) -> list[Path]:
    """Hidden files are shards still being written."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _corrupt(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: not a readable label shard ({error}); remove it, and its labels will be made anew"
    )
