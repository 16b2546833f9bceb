"""What a source of motion looks like, and the plain one: stage 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from typing_extensions import override

from movideo.errors import UserError
from movideo.motion.space import Motion


@dataclass(frozen=True)
class ClipShape:
    """The video that motion is wanted for.

    Attributes:
        num_frames: F.
        key_index: index of the key frame.
        size: `(H, W)` in pixels.
        fps: frames per second.

    Raises:
        UserError: there is no such video.
    """

    num_frames: int
    key_index: int
    size: tuple[int, int]
    fps: float

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise UserError(f"num_frames {self.num_frames}: a video needs at least one frame")
        if not 0 <= self.key_index < self.num_frames:
            raise UserError(
                f"key_index {self.key_index}: not one of the {self.num_frames} frames; "
                f"choose 0 to {self.num_frames - 1}"
            )
        if not 0 < self.fps < float("inf"):
            raise UserError(f"fps {self.fps}: must be above 0; models are trained on 3 to 30")


class MotionSource(ABC):
    """Gives the motion of one video."""

    @abstractmethod
    def motion(
        self, clip: ClipShape, generate: Callable[..., Motion], strength: float = 1.0
    ) -> Motion:
        """Makes it.

        Args:
            clip: the video that it is for.
            generate: stage 1 for the key frame, for sources that need it; takes the strength as
                `motion_strength`, 1 by default.
            strength: how many times as far things move, 0 or more.

        Returns:
            Motion of one video, B = 1; both flows are 0 at the key frame.

        Raises:
            UserError: it does not fit the video.
        """


@dataclass(frozen=True)
class GeneratedMotion(MotionSource):
    """What stage 1 makes of the key frame."""

    @override
    def motion(
        self, clip: ClipShape, generate: Callable[..., Motion], strength: float = 1.0
    ) -> Motion:
        return generate(motion_strength=strength)
