"""Camera paths: how a picture moves when the camera does what a name says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor

from movideo.errors import UserError
from movideo.motion.base import ClipShape, MotionSource
from movideo.motion.carry import carry_motion
from movideo.motion.space import Motion

PREFIX = "camera:"
FOCAL_LENGTH = 1.0  # longer sides of the picture: an angle of view of 53 degrees
NEAR_TO_FAR = (
    4.0  # the parallax strength: the farthest point is as many times as far as the nearest
)
PIVOT = (1 + NEAR_TO_FAR) / (2 * NEAR_TO_FAR)  # inverse depth that an orbit turns about


@dataclass(frozen=True)
class Pose:
    """How points move into the view of a camera, for N moments.

    Lengths are distances to the nearest point of the key frame, x is right, y down, z away.

    Attributes:
        rotation: `(N, 3, 3)` of points about the camera.
        translation: `(N, 3)` of points, after the rotation.
        zoom: `(N,)`, ratio of focal lengths.
    """

    rotation: Tensor
    translation: Tensor
    zoom: Tensor


def _pose(
    progress: Tensor,
    rotation: Tensor | None = None,
    translation: tuple[Tensor | float, Tensor | float, Tensor | float] = (0.0, 0.0, 0.0),
    zoom: Tensor | None = None,
) -> Pose:
    still = torch.eye(3, dtype=progress.dtype).expand(len(progress), 3, 3)
    moved = [torch.as_tensor(each).to(progress).expand_as(progress) for each in translation]
    return Pose(
        rotation=still if rotation is None else rotation,
        translation=torch.stack(moved, dim=-1),
        zoom=torch.ones_like(progress) if zoom is None else zoom,
    )


def _rotation(angle: Tensor, start: int, end: int) -> Tensor:
    """Turns points by radians from axis `start` towards axis `end`, `(N, 3, 3)`."""
    matrix = torch.eye(3, dtype=angle.dtype).repeat(len(angle), 1, 1)
    matrix[:, start, start] = matrix[:, end, end] = angle.cos()
    matrix[:, end, start], matrix[:, start, end] = angle.sin(), -angle.sin()
    return matrix


@dataclass(frozen=True)
class _Move:
    """A kind of camera movement.

    Attributes:
        directions: its two ways; the pose is that of the first, the second is its opposite.
        unit: what the amount counts.
        default: amount over the clip.
        most: largest amount that leaves every point before the camera.
        pose: of the amount, the progress `(F,)`, 0 at the key frame and 1 a whole clip later, and
            the sides of the picture, `(height, width)`, in focal lengths.
    """

    directions: tuple[str, str]
    unit: str
    default: float
    most: float
    pose: Callable[[float, Tensor, tuple[float, float]], Pose]


def _pan(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    return _pose(progress, _rotation((amount * view[1] * progress).atan(), 2, 0))


def _tilt(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    return _pose(progress, _rotation((amount * view[0] * progress).atan(), 2, 1))


def _roll(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    return _pose(progress, _rotation((amount * progress).deg2rad(), 0, 1))


def _zoom(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    return _pose(progress, zoom=(1 + amount) ** progress)


def _truck(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    return _pose(progress, translation=(amount * view[1] * progress, 0.0, 0.0))


def _pedestal(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    return _pose(progress, translation=(0.0, amount * view[0] * progress, 0.0))


def _dolly(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    return _pose(progress, translation=(0.0, 0.0, -amount * progress))


def _orbit(amount: float, progress: Tensor, view: tuple[float, float]) -> Pose:
    # Towards the left past the pivot, and back to the right to keep it in view.
    angle = (amount * progress).deg2rad()
    radius = 1 / PIVOT
    away = radius * angle.sin(), 0.0, radius * (1 - angle.cos())
    return _pose(progress, _rotation(angle, 0, 2), away)


_WIDTHS, _HEIGHTS, _DEGREES = "widths of the picture", "heights of the picture", "degrees"
_MOVES = {
    "pan": _Move(("left", "right"), _WIDTHS, 0.2, 1.0, _pan),
    "tilt": _Move(("up", "down"), _HEIGHTS, 0.2, 1.0, _tilt),
    "roll": _Move(("left", "right"), _DEGREES, 15.0, 180.0, _roll),
    "zoom": _Move(("in", "out"), "shares of the focal length", 0.3, 3.0, _zoom),
    "truck": _Move(("left", "right"), _WIDTHS, 0.2, 1.0, _truck),
    "pedestal": _Move(("up", "down"), _HEIGHTS, 0.2, 1.0, _pedestal),
    "dolly": _Move(("in", "out"), "distances to the nearest point", 0.3, 0.9, _dolly),
    "orbit": _Move(("left", "right"), _DEGREES, 15.0, 60.0, _orbit),
}
_PATHS = {
    f"{name}_{direction}": (move, sign)
    for name, move in _MOVES.items()
    for direction, sign in zip(move.directions, (1, -1), strict=True)
}
CAMERA_PATHS = tuple(_PATHS)


@dataclass(frozen=True)
class CameraPath(MotionSource):
    """A camera that moves evenly through a still scene, and stands where it stood at the key frame.

    Pan, tilt, roll and zoom are homographies; in the others near things move more than far ones.
    Depth is relative, so the parallax is an assumption: the farthest point of the key frame is
    taken to be `NEAR_TO_FAR` times as far away as the nearest.

    Args:
        name: one of `CAMERA_PATHS`; it says what the camera does, so panning left moves the content
            to the right.
        amount: how far from the first frame to the last, in the unit of the name.

    Raises:
        UserError: there is no such path, or the amount is out of range.
    """

    name: str
    amount: float | None = None

    def __post_init__(self) -> None:
        if self.name not in _PATHS:
            near = get_close_matches(self.name, CAMERA_PATHS, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else f"choose one of {', '.join(CAMERA_PATHS)}"
            )
            raise UserError(f"{PREFIX}{self.name}: no such camera path; {hint}")
        self._scaled_amount(1.0)

    def motion(
        self, clip: ClipShape, generate: Callable[..., Motion], strength: float = 1.0
    ) -> Motion:
        """See `MotionSource.motion`; the depth is that of the key frame in generated motion."""
        self._scaled_amount(strength)  # a mistake is told before the work begins
        return self.over(generate().depth[:, clip.key_index], clip, strength)

    def over(self, depth: Tensor, clip: ClipShape, strength: float = 1.0) -> Motion:
        """The motion over key frames of known depth.

        Args:
            depth: `(B, 1, H, W)` in [-1, 1], near is large.
            clip: the video; its size is that of the depth.
            strength: times the amount.
        """
        move, sign = _PATHS[self.name]
        height, width = clip.size
        focal = FOCAL_LENGTH * max(height, width)
        progress = torch.arange(clip.num_frames, dtype=torch.float64) - clip.key_index
        progress = sign * progress / max(1, clip.num_frames - 1)
        pose = move.pose(self._scaled_amount(strength), progress, (height / focal, width / focal))
        inverse = 1 / NEAR_TO_FAR + (1 - 1 / NEAR_TO_FAR) * (depth.double() + 1) / 2
        flow, moved = _project(pose, inverse, focal)
        flow[:, clip.key_index] = 0  # but for rounding it is
        return carry_motion(flow.to(depth.dtype), moved.to(depth.dtype))

    def _scaled_amount(self, strength: float) -> float:
        move, _ = _PATHS[self.name]
        amount = (move.default if self.amount is None else self.amount) * strength
        if not 0 <= amount <= move.most:
            times = "" if strength == 1 else f" with --motion_strength {strength:g}"
            raise UserError(
                f"{PREFIX}{self.name}: amount {amount:g}{times}; "
                f"give 0 to {move.most:g} {move.unit}"
            )
        return amount


def _project(pose: Pose, inverse: Tensor, focal: float) -> tuple[Tensor, Tensor]:
    """Where points go, and how near they come.

    Args:
        pose: of F moments.
        inverse: `(B, 1, H, W)`, inverse depth, 1 the nearest.
        focal: focal length in pixels.

    Returns:
        flow `(B, F, 2, H, W)` and inverse depth `(B, F, 1, H, W)`, both on the grid of `inverse`.
    """
    height, width = inverse.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    # A point at depth z is z * ray; everything is divided by z, which infinity survives too.
    ray = torch.stack([x / focal, y / focal, torch.ones_like(x)]).to(inverse.device)
    rotation, translation = pose.rotation.to(inverse.device), pose.translation.to(inverse.device)
    turned = torch.einsum("fij,jhw->fihw", rotation, ray)
    point = turned + translation[:, :, None, None] * inverse[:, None]
    place = (
        point[:, :, :2]
        / point[:, :, 2:]
        * (focal * pose.zoom.to(inverse.device))[:, None, None, None]
    )
    return place - ray[:2] * focal, inverse[:, None] / point[:, :, 2:]
