"""One decoding pass over a video: where its shots lie, how bright it is and how much it moves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.video.decoding.container import (
    DEADLINE,
    TOLERANCE,
    DamagedError,
    Deadline,
    open_video,
)
from movideo.video.decoding.probe import VideoInfo
from movideo.video.decoding.random_access import frames_around

LONGER_SIDE = 128  # pixels; a cut is as plain to see on a small picture
THUMBNAIL = 32  # pixels a side; 1 KiB a frame, 200 MiB for a film of two hours
SECONDS_A_FRAME = 0.25  # that decoding may take, on top of the usual deadline


@dataclass(frozen=True)
class Survey:
    """What a video shows, frame by frame.

    Attributes:
        times: `(N,)`, seconds since the first frame, ascending, of the frames that decode.
        thumbnails: `(N, 32, 32)`, luma of the whole picture, bytes.
        shots: seconds of the first and the last frame of each shot, ascending.
    """

    times: NDArray[np.float64]
    thumbnails: NDArray[np.uint8]
    shots: tuple[tuple[float, float], ...]

    def brightness(self, clip: Clip) -> float:
        """Mean luma of the clip's darkest frame: 0 black, 1 white."""
        return float(self._luma(clip).mean(axis=(1, 2)).min())

    def motion(self, clip: Clip) -> float:
        """How far the clip departs from its key frame: 0 not at all, 1 from black to white.

        The mean absolute difference in luma to the key frame, of the frame that differs most.
        """
        luma = self._luma(clip)
        return float(np.abs(luma - luma[clip.key_index]).mean(axis=(1, 2)).max())

    def shot(self, clip: Clip) -> tuple[float, float]:
        """The shot in which the clip starts."""
        starts = [start for start, _ in self.shots]
        return self.shots[bisect_right(starts, clip.start + TOLERANCE) - 1]

    def _luma(self, clip: Clip) -> NDArray[np.float64]:
        shown = np.searchsorted(self.times, np.add(clip.times, TOLERANCE), side="right") - 1
        return self.thumbnails[shown].astype(np.float64) / 255


def survey(info: VideoInfo) -> Survey:
    """Decodes all frames of a video once; of a damaged one those before the damage.

    Cuts are found by PySceneDetect's adaptive detector: a frame that differs from the one before
    by much, and by three times as much as the frames around it do. So fast motion is no cut, nor
    is a slow fade or a dissolve; a flash is two, and so a clip shows none.

    Raises:
        UserError: PySceneDetect is not installed.
        VideoError: no frame can be decoded, or it takes too long.
    """
    times, thumbnails = [], []
    finder = _CutFinder()
    for time, picture in _small_pictures(info):
        times.append(time)
        luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        thumbnails.append(cv2.resize(luma, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA))
        finder.add(picture)
    firsts = [0, *finder.finish()]
    lasts = [*(first - 1 for first in firsts[1:]), len(times) - 1]
    shots = tuple((times[first], times[last]) for first, last in zip(firsts, lasts, strict=True))
    return Survey(np.array(times), np.stack(thumbnails).astype(np.uint8), shots)


def _small_pictures(info: VideoInfo) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Every frame with its time, as stored (not turned), `(h, w, 3)` BGR bytes of one size."""
    stored = (info.height, info.width) if info.rotation % 180 else (info.width, info.height)
    scale = min(1.0, LONGER_SIDE / max(stored))
    width, height = (max(1, round(side * scale)) for side in stored)
    reformatter = VideoReformatter()
    for time, frame in _frames(info):
        small = reformatter.reformat(
            frame, width, height, format="bgr24", interpolation=Interpolation.AREA, threads=1
        )
        yield time, np.ascontiguousarray(small.to_ndarray())


def _frames(info: VideoInfo) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their times, ascending: up to the last that `info` knows of, or to damage."""
    deadline = Deadline(info.path, DEADLINE + SECONDS_A_FRAME * len(info.times))
    decoded = 0
    try:
        with open_video(info.path, deadline) as video:
            for time, frame in frames_around(video, (0.0,), is_counted=info.counted):
                if time <= info.duration:
                    yield time, frame
                    decoded += 1
    except DamagedError:
        if not decoded:
            raise


class _CutFinder:
    """PySceneDetect's adaptive detector, told the frames one by one.

    It compares a frame with those around it and says nothing of the first and the last ones: so
    the first and the last frame are repeated for it.
    """

    def __init__(self) -> None:
        scenedetect = import_scenedetect()
        self._timecode = scenedetect.FrameTimecode
        self._detector = scenedetect.AdaptiveDetector(min_scene_len=0)
        self._margin: int = self._detector.window_width
        self._last: NDArray[np.uint8] | None = None
        self._fed = 0
        self._cuts: list[int] = []

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Takes the next frame, `(h, w, 3)` BGR bytes, always of one size."""
        repeats = self._margin if self._last is None else 0
        for _ in range(1 + repeats):
            self._feed(picture)
        self._last = picture

    def finish(self) -> list[int]:
        """Indices of the frames that begin a shot, but for the first."""
        for _ in range(self._margin):
            if self._last is not None:
                self._feed(self._last)
        return self._cuts

    def _feed(self, picture: NDArray[np.uint8]) -> None:
        number = self._timecode(self._fed, fps=1.0)  # counted in frames, whatever their rate
        found = self._detector.process_frame(number, picture)
        self._cuts += [cut.frame_num - self._margin for cut in found]
        self._fed += 1


def import_scenedetect() -> Any:
    """The package `scenedetect`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import scenedetect
    except ImportError as error:
        raise UserError(
            "finding cuts needs PySceneDetect; run: pip install 'movideo[index]'"
        ) from error
    return scenedetect
