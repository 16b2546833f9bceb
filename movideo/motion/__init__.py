"""Motion as an input: generated, saved before, taken from a video, or that of a camera path.

Motion is made, scaled and carried over on the key frame's grid, as `flow_v2i` and depth; what each
frame sees, `flow_i2v` and the moved depth, follows from it (`movideo.motion.carry`).
"""

from movideo.motion.base import ClipShape, GeneratedMotion, MotionSource
from movideo.motion.camera import CameraPath
from movideo.motion.carry import carry_motion, scale_motion
from movideo.motion.files import SavedMotion, load_motion, save_motion
from movideo.motion.parse import parse_motion
from movideo.motion.video import VideoMotion

__all__ = [
    "CameraPath",
    "ClipShape",
    "GeneratedMotion",
    "MotionSource",
    "SavedMotion",
    "VideoMotion",
    "carry_motion",
    "load_motion",
    "parse_motion",
    "save_motion",
    "scale_motion",
]
