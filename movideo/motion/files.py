"""Motion saved beside a video, to be looked at, edited and used again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from movideo.errors import UserError
from movideo.models.motion_space import Motion
from movideo.motion.base import ClipShape, MotionSource
from movideo.motion.carry import scale_motion
from movideo.pictures import motion_rows
from movideo.pipeline import MoVideoOutput
from movideo.video.write import whole_file, write_mp4

FIELDS = ("depth", "flow_i2v", "flow_v2i")
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class SavedMotion(MotionSource):
    """What `save_motion` wrote.

    Args:
        path: the file.
    """

    path: str

    def motion(
        self, clip: ClipShape, generate: Callable[[], Motion], strength: float = 1.0
    ) -> Motion:
        """See `MotionSource.motion`."""
        saved = load_motion(self.path, clip.num_frames, clip.size)
        if any(flow[:, clip.key_index].any() for flow in (saved.flow_i2v, saved.flow_v2i)):
            raise UserError(
                f"{self.path}: moves at frame {clip.key_index}, so that is not its key frame; "
                "give the --key_index that it was made for"
            )
        return scale_motion(saved, clip.key_index, strength)


def save_motion(path: str | Path, result: MoVideoOutput, fps: float) -> None:
    """Writes the motion of one video as safetensors, and in colour beside it.

    Depth `(F, 1, H, W)`, both flows `(F, 2, H, W)` in pixels, the visible mask `(F, 1, H, W)`. Each
    also as an mp4 to look at: beside `name.safetensors` stand `name_depth.mp4`,
    `name_flow_i2v.mp4`, `name_flow_v2i.mp4` and `name_mask.mp4`. Both flows share one scale of
    colour.

    Args:
        path: the file.
        result: the video, B = 1.
        fps: its frames per second.

    Raises:
        UserError: a file cannot be written.
    """
    path = Path(path)
    tensors = {name: getattr(result, name)[0].cpu().contiguous() for name in (*FIELDS, "visible")}
    with whole_file(path) as temporary:
        save_file(tensors, temporary)
    motion = Motion(*(getattr(result, name).cpu() for name in FIELDS))
    for name, colours in motion_rows(motion, 0).items():
        write_mp4(path.with_name(f"{path.stem}_{name}.mp4"), colours, fps)


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
