"""Motion saved beside a video, to be looked at, edited and used again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from typing_extensions import override

from movideo.errors import UserError
from movideo.motion.base import ClipShape, MotionSource
from movideo.motion.carry import scale_motion
from movideo.motion.space import Motion
from movideo.ops import visible_mask
from movideo.storage.atomic import whole_file

FIELDS = ("depth", "flow_i2v", "flow_v2i")
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class SavedMotion(MotionSource):
    """What `save_motion` wrote.

    Args:
        path: the file.
    """

    path: str

    @override
    def motion(
        self, clip: ClipShape, generate: Callable[[], Motion], strength: float = 1.0
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

    Depth `(F, 1, H, W)`, both flows `(F, 2, H, W)` in pixels, the visible mask `(F, 1, H, W)`.

    Raises:
        UserError: the file cannot be written.
    """
    tensors = {name: getattr(motion, name)[0].cpu().contiguous() for name in FIELDS}
    tensors["visible"] = visible_mask(tensors["flow_i2v"], tensors["flow_v2i"])
    with whole_file(path) as temporary:
        save_file(tensors, temporary)


def load_motion(path: str | Path, num_frames: int, size: tuple[int, int]) -> Motion:
    """Reads such a file.

    Args:
        path: the file.
        num_frames: F that it must have.
        size: `(H, W)` that it must have.

    Raises:
        UserError: it is missing, no such file, or of another shape.
    """
    try:
        tensors = load_file(path)
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
    return Motion(**{name: tensors[name][None] for name in FIELDS})
