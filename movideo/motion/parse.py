"""From what `--motion` says to a source of motion."""

from __future__ import annotations

from pathlib import Path

from movideo.errors import UserError
from movideo.motion.base import GeneratedMotion, MotionSource
from movideo.motion.camera import PREFIX, CameraPath
from movideo.motion.files import SUFFIX, SavedMotion
from movideo.motion.video import VideoMotion


def parse_motion(named: str | None) -> MotionSource:
    """The source that a text names.

    Args:
        named: None for generated motion, `camera:NAME` or `camera:NAME:AMOUNT`, a .safetensors file
            written by `save_motion`, or a video.

    Raises:
        UserError: it names nothing.
    """
    if named is None:
        return GeneratedMotion()
    if named.startswith(PREFIX):
        return _camera_path(named)
    if not Path(named).is_file():
        raise UserError(
            f"{named}: no such motion; give a {SUFFIX} file written with --save_motion, a video, "
            f"or {PREFIX}NAME, such as {PREFIX}pan_left"
        )
    return SavedMotion(named) if Path(named).suffix == SUFFIX else VideoMotion(named)


def _camera_path(named: str) -> CameraPath:
    name, colon, amount = named.removeprefix(PREFIX).partition(":")
    if not colon:
        return CameraPath(name)
    try:
        return CameraPath(name, float(amount))
    except ValueError as error:
        raise UserError(f"{named}: {amount!r} is no amount; give a number") from error
