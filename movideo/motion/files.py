"""Motion saved beside a video, to be looked at, edited and used again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub.checkpoint import build, describe
from movideo.motion.base import ClipShape, MotionSource
from movideo.motion.carry import scale_motion
from movideo.motion.space import Motion
from movideo.motion.visibility import Consistency
from movideo.storage.atomic import whole_file

FIELDS = ("depth", "flow_i2v", "flow_v2i")
SUFFIX = ".safetensors"
VISIBILITY = "visibility"  # in the file's metadata; files of before have none, and Eq. 11
LEVEL = "level"  # likewise; where there is none, motion is exact


@dataclass(frozen=True)
class SavedMotion(MotionSource):
    """What `save_motion` wrote.

    Args:
        path: the file.
    """

    path: str

    @override
    def motion(
        self, clip: ClipShape, generate: Callable[..., Motion], strength: float = 1.0
    ) -> Motion:
        saved = load_motion(self.path, clip.num_frames, clip.size)
        if any(flow[:, clip.key_index].any() for flow in (saved.flow_i2v, saved.flow_v2i)):
            raise UserError(
                f"{self.path}: moves at frame {clip.key_index}, so that is not its key frame; "
                "give the --key_index that it was made for"
            )
        return scale_motion(saved, clip.key_index, strength)


def save_motion(path: str | Path, motion: Motion) -> None:
    """Writes the motion of one video, B = 1, as safetensors.

    Depth `(F, 1, H, W)`, both flows `(F, 2, H, W)` in pixels; the visible mask `(F, 1, H, W)` to
    look at, and the rule that it follows from.

    Raises:
        UserError: the file cannot be written.
    """
    named = {**motion.fields(), "visible": motion.visible}
    tensors = {name: field[0].cpu().contiguous() for name, field in named.items()}
    about = {VISIBILITY: json.dumps(describe(motion.visibility, frozen=False))}
    if motion.level is not None:
        about[LEVEL] = json.dumps(float(motion.level))
    with whole_file(path) as temporary:
        save_file(tensors, temporary, about)


def load_motion(path: str | Path, num_frames: int, size: tuple[int, int]) -> Motion:
    """Reads such a file.

    Args:
        path: the file.
        num_frames: F that it must have.
        size: `(H, W)` that it must have.

    Raises:
        UserError: it is missing, no such file, or of another shape; its rule of visibility is of
            another package, and not trusted.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: no motion file; give one written with --save_motion") from error
    for name in FIELDS:
        channels = 1 if name == "depth" else 2
        wanted = (num_frames, channels, *size)
        if name not in tensors or tuple(tensors[name].shape) != wanted:
            found = tuple(tensors[name].shape) if name in tensors else "missing"
            raise UserError(
                f"{path}: {name} is {found}, not {wanted}; match --num_frames and --size"
            )
        if not tensors[name].isfinite().all():
            raise UserError(f"{path}: {name} holds values that are no numbers; save it again")
    depth, flow_i2v, flow_v2i = (tensors[name][None] for name in FIELDS)
    rule, level = about.get(VISIBILITY), about.get(LEVEL)
    return Motion(
        depth,
        flow_i2v,
        flow_v2i,
        visibility=Consistency() if rule is None else build(json.loads(rule)),
        level=None if level is None else torch.tensor([float(json.loads(level))]),
    )
