"""Where the key frames of training clips stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.storage.digest import digest


@dataclass(frozen=True)
class KeyFramePlaces:
    """In the centre, at the first frame, or anywhere.

    Attributes:
        center: probability of the centre frame, `F // 2`.
        first: of the first frame. With what is left to 1, of any frame.

    Raises:
        UserError: they are no probabilities.
    """

    center: float = 0.4
    first: float = 0.3

    def __post_init__(self) -> None:
        if min(self.center, self.first) < 0 or self.center + self.first > 1:
            raise UserError(
                f"key_frames: center {self.center}, first {self.first}; give two probabilities, "
                "together 1 at most"
            )

    @property
    def anywhere(self) -> bool:
        """Whether it is not the centre alone."""
        return self.center < 1

    def draw(self, num_frames: int, name: str) -> int:
        """The key frame of a clip: a function of its name and length alone."""
        uniform = int.from_bytes(digest(f"key frame/{name}")[:4], "little") / 2**32
        if uniform < self.center:
            return num_frames // 2
        if (left := uniform - self.center) < self.first:
            return 0
        rest = 1 - self.center - self.first
        return min(int((left - self.first) / rest * num_frames), num_frames - 1)


def place_key_frame(clip: Clip, places: KeyFramePlaces) -> Clip:
    """A clip whose key frame stands in the centre, with the one that is drawn for it."""
    return replace(clip, key_index=places.draw(clip.num_frames, clip.key))
