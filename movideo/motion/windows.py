"""Longer videos: windows that go on from one another's ends, and the motion through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from movideo.motion.space import Motion
from movideo.ops import warp


@dataclass(frozen=True)
class Window:
    """Frames that are generated at once.

    Attributes:
        first: index of its first frame in the video.
        key_index: of its key frame, in the window.
        kept: which of its frames are new, and go into the video.
    """

    first: int
    key_index: int
    kept: range

    @property
    def key_frame(self) -> int:
        """The video's frame that it goes on from."""
        return self.first + self.key_index


def plan_windows(num_frames: int, key_index: int, length: int) -> Iterator[Window]:
    """Windows of equal length that cover a video.

    The first lies around the key frame, as near to the middle of it as the video allows. From its
    last frame others go on, from theirs others, to the end of the video; and from its first frame
    to the beginning. Of the last one in either direction only some frames are needed.

    Args:
        num_frames: of the video, `length` or more.
        key_index: the key frame of the video.
        length: frames of a window, 2 or more.
    """
    first = min(max(key_index - length // 2, 0), num_frames - length)
    yield Window(first, key_index - first, range(length))
    last, start = first + length - 1, first
    while last < num_frames - 1:
        new = min(length - 1, num_frames - 1 - last)
        yield Window(last, 0, range(1, 1 + new))
        last += new
    while start > 0:
        new = min(length - 1, start)
        yield Window(start - length + 1, length - 1, range(length - 1 - new, length - 1))
        start -= new


def chain_motion(until: Motion, onward: Motion) -> Motion:
    """Motion of frames relative to a key frame, through another frame.

    Args:
        until: of that one frame relative to the key frame, F = 1.
        onward: of the frames relative to that frame.

    Returns:
        Flows of the frames relative to the key frame; depth and the rest are `onward`'s.
    """
    frames = onward.depth.shape[1]
    there = until.flow_v2i.expand(-1, frames, -1, -1, -1)
    back = until.flow_i2v.expand(-1, frames, -1, -1, -1)
    return Motion(
        onward.depth,
        flow_i2v=onward.flow_i2v + warp(back, onward.flow_i2v),
        flow_v2i=there + warp(onward.flow_v2i, there),
        visibility=onward.visibility,
        level=onward.level,
    )


def go_on_from(
    video: Tensor, key_frame: Tensor, key_index: int, flow_i2v: Tensor, visible: Tensor
) -> Tensor:
    """A window whose key frame is the picture that it goes on from, to the pixel.

    What a window makes of its key frame went through the autoencoder once more, and where windows
    meet that would be seen. What is lost is carried along the motion to the other frames, the less
    of it the farther they are.

    Args:
        video: `(B, F, 3, H, W)` in [-1, 1].
        key_frame: `(B, 3, H, W)`, the picture.
        key_index: where it stands.
        flow_i2v: `(B, F, 2, H, W)`, pixels.
        visible: `(B, F, 1, H, W)`.
    """
    lost = (key_frame - video[:, key_index])[:, None]
    away = (torch.arange(video.shape[1], device=video.device) - key_index).abs()
    share = (1 - away / away.max()).view(-1, 1, 1, 1)
    return (video + share * visible * warp(lost, flow_i2v)).clamp(-1, 1)


def frames_of(motion: Motion, frames: slice) -> Motion:
    """Some frames of a motion."""
    return motion.map(lambda field: field[:, frames])


def empty_motion(like: Motion, num_frames: int) -> Motion:
    """Room for the motion of a video of so many frames."""
    return like.map(
        lambda field: torch.zeros(
            len(field), num_frames, *field.shape[2:], dtype=field.dtype, device=field.device
        )
    )
