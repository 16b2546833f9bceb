"""Longer videos: windows that go on from one another's ends, and the motion through all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def plan_windows(num_frames: int, key_index: int, length: int) -> list[Window]:
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
    windows = [Window(first, key_index - first, range(length))]
    last, start = first + length - 1, first
    while last < num_frames - 1:
        new = min(length - 1, num_frames - 1 - last)
        windows.append(Window(last, 0, range(1, 1 + new)))
        last += new
    while start > 0:
        new = min(length - 1, start)
        new_frames = range(length - 1 - new, length - 1)
        windows.append(Window(start - length + 1, length - 1, new_frames))
        start -= new
    return windows


def join_windows(
    key_frame: Tensor,
    windows: Sequence[Window],
    make: Callable[[Tensor, int], tuple[Tensor, Motion]],
) -> tuple[Tensor, Motion]:
    """The video of all windows, and its motion relative to the key frame.

    Args:
        key_frame: `(B, 3, H, W)` in [-1, 1].
        windows: see `plan_windows`.
        make: gives a window's video `(B, L, 3, H, W)` and motion, of the picture that it goes on
            from and of where that stands.
    """
    frames = max(window.first + window.kept.stop for window in windows)
    first, *others = windows
    video, motion = make(key_frame, first.key_index)
    whole = _room(video, frames), motion.map(lambda field: _room(field, frames))
    _put(whole, (video, motion), first)
    for window in others:
        picture = whole[0][:, window.key_frame]
        video, motion = make(picture, window.key_index)
        video = go_on_from(video, picture, window.key_index, motion.flow_i2v, motion.visible)
        there = slice(window.key_frame, window.key_frame + 1)
        until = whole[1].map(lambda field, there=there: field[:, there])  # type: ignore[misc]
        _put(whole, (video, chain_motion(until, motion)), window)
    return whole


def _room(field: Tensor, frames: int) -> Tensor:
    return field.new_zeros(len(field), frames, *field.shape[2:])


def _put(whole: tuple[Tensor, Motion], part: tuple[Tensor, Motion], window: Window) -> None:
    """Writes the new frames of a window where they belong."""
    kept = slice(window.kept.start, window.kept.stop)
    there = slice(window.first + kept.start, window.first + kept.stop)
    pairs = ((video, *motion.fields().values()) for video, motion in (whole, part))
    for target, source in zip(*pairs, strict=True):
        target[:, there] = source[:, kept]


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
