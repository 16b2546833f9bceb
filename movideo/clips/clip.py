"""Clips: which frames of which video, drawn once under a seed and read by time."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from movideo.errors import Range, VideoError
from movideo.storage.digest import digest, hex_digest
from movideo.video.decoding.pixels import to_float
from movideo.video.read import TOLERANCE, VideoInfo, read_pixels

_ATTEMPTS = 32

_LONGEST_STEM = 200  # bytes of a video's name in its clips' names: of these files are made


@dataclass(frozen=True)
class Clip:
    """A row that labels belong to: frames at start, start + 1 / fps, … of one video.

    Attributes:
        video: the file. Not part of the clip's identity: files move.
        content_hash: identity of the file's content.
        start: seconds since the video's first frame.
        fps: frames per second of the clip, not of the file.
        num_frames: F.
        size: (height, width); shorter side resized, centre cropped.
        key_index: index of the key frame.
    """

    video: str
    content_hash: str
    start: float
    fps: float
    num_frames: int
    size: tuple[int, int]
    key_index: int

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds since the video's first frame, of every frame of the clip."""
        return tuple(self.start + index / self.fps for index in range(self.num_frames))

    @property
    def reach(self) -> float:
        """Seconds from the key frame to the frame that is farthest from it."""
        return max(self.key_index, self.num_frames - 1 - self.key_index) / self.fps

    @property
    def name(self) -> str:
        """For people and file names; that of no other clip."""
        stem = os.fsencode(Path(self.video).stem)[:_LONGEST_STEM].decode(errors="ignore")
        return f"{stem}_{self.start:.3f}_{self.key[:6]}"

    @property
    def key(self) -> str:
        """Stable identity, 64 hex digits, of everything but the path."""
        height, width = self.size
        moments = f"{self.start:.6f} {self.fps:.6f} {self.num_frames} {self.key_index}"
        row = f"{self.content_hash} {moments} {height}x{width}"
        return hex_digest(row)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Clip":
        """The clip that `to_dict` described, also after JSON turned tuples into lists."""
        height, width = row["size"]
        return cls(**{**row, "size": (height, width)})


@dataclass(frozen=True)
class ClipSettings:
    """How clips are drawn.

    Attributes:
        num_frames: frames a clip, F.
        size: (height, width) of a clip.
        fps_range: lowest and highest frames per second, both included.
        clips_per_video: clips drawn from each video; equal ones are kept once.
        key_index: index of the key frame; None is the centre, F // 2.
        seed: with the video's content, decides everything that is drawn.
    """

    num_frames: int = 17
    size: tuple[int, int] = (64, 64)
    fps_range: tuple[float, float] = (3.0, 30.0)
    clips_per_video: int = 1
    key_index: int | None = None
    seed: int = 0

    @property
    def key_frame(self) -> int:
        """Index of the key frame, the centre unless `key_index` says otherwise."""
        return self.num_frames // 2 if self.key_index is None else self.key_index

    def ranges(self) -> dict[str, Range]:
        """In which clips can be drawn."""
        low, high = self.fps_range
        last = self.num_frames - 1
        return {
            "num_frames": (self.num_frames > 0, "1 or more"),
            "size": (min(self.size) > 0, "1 or more pixels"),
            "fps_range": (0 < low <= high, "the lowest, above 0, and the highest"),
            "clips_per_video": (self.clips_per_video > 0, "1 or more"),
            "key_index": (0 <= (self.key_index or 0) <= last, f"0 to num_frames - 1, {last}"),
        }


def draw_clips(
    info: VideoInfo,
    content_hash: str,
    settings: ClipSettings,
    shots: Sequence[tuple[float, float]] | None = None,
) -> list[Clip]:
    """Draws random clips, each at a random rate that the video can give without repeating a frame.

    Clips start on a frame of the video. A video of exactly `num_frames` frames at a constant rate
    in `fps_range` gives one clip: from second 0, at that rate.

    Args:
        info: times and rate of the video's frames.
        content_hash: identity of the file's content; with the seed it decides what is drawn.
        settings: how clips are drawn.
        shots: seconds of the first and last frame of each shot, ascending; no clip leaves its shot.
            The whole video by default.

    Raises:
        VideoError: no rate in `fps_range` gives `num_frames` distinct frames of one shot.
    """
    source = f"{settings.seed} {content_hash}".encode()
    random = np.random.default_rng(list(digest(source)))
    frames, size = settings.num_frames, settings.size
    shots = [(0.0, info.duration)] if shots is None else shots
    rates = _rates(info, settings, shots)
    ends = _shot_ends(info, shots)
    drawn = [_draw(info, ends, rates, frames, random) for _ in range(settings.clips_per_video)]
    path = str(info.path)
    clips = [Clip(path, content_hash, *pair, frames, size, settings.key_frame) for pair in drawn]
    return list(dict.fromkeys(clips))


def _shot_ends(info: VideoInfo, shots: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """For every frame the time of its shot's last frame."""
    starts, ends = zip(*shots, strict=True)
    return np.asarray([-np.inf, *ends])[np.searchsorted(starts, info.times, side="right")]


def _rates(
    info: VideoInfo, settings: ClipSettings, shots: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Lowest and highest frames per second that settings allow and the longest shot can give."""
    low, high = settings.fps_range
    steps = settings.num_frames - 1
    if steps == 0:
        return low, high
    high = min(high, info.fps)
    longest = max(end - start for start, end in shots)
    spare = longest - steps / high if high >= low else -1.0
    if spare >= -TOLERANCE:
        return (max(low, steps / longest), high) if spare > TOLERANCE else (high, high)
    where = f" in the longest of {len(shots)} shots" if len(shots) > 1 else ""
    count = int((longest + TOLERANCE) * high) + 1 if high >= low else 0
    raise VideoError(
        f"{info.path}: too short: {longest:.2f} s of {info.fps:.5g} fps{where} give {count} frames "
        f"at {low:g} to {settings.fps_range[1]:g} fps, {settings.num_frames} are needed; "
        "ask for fewer frames, widen the fps range or take a longer video"
    )


def _draw(
    info: VideoInfo,
    ends: NDArray[np.float64],
    rates: tuple[float, float],
    num_frames: int,
    random: np.random.Generator,
) -> tuple[float, float]:
    """A start and a rate; only irregular times can defeat every rate tried."""
    for fps in _candidates(*rates, random):
        starts = _starts(np.asarray(info.times), ends, fps, num_frames)
        if len(starts):
            return round(float(random.choice(starts)), 6), fps
    raise VideoError(
        f"{info.path}: its frames come too irregularly to give {num_frames} distinct ones "
        f"at {rates[0]:.5g} to {rates[1]:.5g} fps; ask for fewer frames or remove it"
    )


def _candidates(low: float, high: float, random: np.random.Generator) -> Iterator[float]:
    """Rates to try: random ones, then the ends; rounded as in a clip's key, whole ones whole."""
    for _ in range(_ATTEMPTS):
        yield round(float(random.uniform(low, high)), 6)
    yield from (round(high, 6), round(low, 6))


def _starts(
    times: NDArray[np.float64], ends: NDArray[np.float64], fps: float, num_frames: int
) -> NDArray[np.float64]:
    """Frame times from which `num_frames` at `fps` show as many frames before their shot ends."""
    span = (num_frames - 1) / fps
    starts = times[times + span <= ends + TOLERANCE]
    wanted = starts[:, None] + np.arange(num_frames) / fps
    shown = np.searchsorted(times, wanted + TOLERANCE, side="right")
    return np.asarray(starts[(np.diff(shown, axis=1) > 0).all(axis=1)])


def middle_times(
    info: VideoInfo, num_frames: int, fps: float | None = None
) -> tuple[float, ...] | None:
    """Times of the clip in the middle of a video, without a draw and without a repeated frame.

    Args:
        info: times and rate of the video's frames.
        num_frames: F.
        fps: frames per second of the clip; None takes frames that follow one another.

    Returns:
        F times in seconds since the video's first frame; None if it has no such clip.
    """
    times = np.asarray(info.times)
    if fps is None:
        spare = len(times) - num_frames
        first = spare // 2
        return tuple(times[first : first + num_frames].tolist()) if spare >= 0 else None
    starts = _starts(times, np.full_like(times, info.duration), fps, num_frames)
    if not len(starts):
        return None
    start = float(starts[(len(starts) - 1) // 2])
    return tuple(start + index / fps for index in range(num_frames))


def read_clip(clip: Clip) -> Tensor:
    """`read_clip_pixels`, as `(F, 3, H, W)` RGB in [-1, 1]."""
    return to_float(read_clip_pixels(clip))


def read_clip_pixels(clip: Clip, exact_colours: bool = True) -> Tensor:
    """Reads a clip's frames: `(F, 3, H, W)` RGB bytes, colours as by `read_pixels`.

    Raises:
        VideoError: the file cannot be read or no longer gives that many distinct frames.
    """
    return read_pixels(
        clip.video, clip.times, clip.size, distinct=True, exact_colours=exact_colours
    )
