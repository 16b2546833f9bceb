"""Motion saved beside a video, to be looked at, edited and used again."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from movideo.errors import UserError
from movideo.models.motion_space import Motion
from movideo.pipeline import MoVideoOutput
from movideo.video.write import whole_file

FIELDS = ("depth", "flow_i2v", "flow_v2i")


def save_motion(path: str | Path, result: MoVideoOutput) -> None:
    """Writes the motion of one video as safetensors.

    Depth `(F, 1, H, W)`, both flows `(F, 2, H, W)` in pixels, the visible mask `(F, 1, H, W)`.
    """
    tensors = {name: getattr(result, name)[0].cpu().contiguous() for name in (*FIELDS, "visible")}
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
    return Motion(**{name: tensors[name][None] for name in FIELDS})
