"""Frames of a video file by their time, and still pictures.

Times are seconds since the first frame shown, taken from the file's presentation times, so that
constant rate, variable rate, B-frames, start offsets and edit lists are all one case.
"""

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from movideo.errors import VideoError
from movideo.video.decoding.container import (
    LARGEST,
    TOLERANCE,
    DamagedError,
    Deadline,
    VideoFile,
    open_video,
)
from movideo.video.decoding.pixels import RgbConverter, fit, on_white, to_float
from movideo.video.decoding.probe import VideoInfo, probe
from movideo.video.decoding.random_access import OutOfOrderError, TimedFrames, frames_around

__all__ = [
    "PICTURES",
    "TOLERANCE",
    "VideoError",
    "VideoInfo",
    "probe",
    "read_frames",
    "read_image",
    "read_image_pixels",
    "read_pixels",
]

PICTURES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""What counts as a picture inside a folder, in any case of letters."""

_PIXELS_AHEAD = 2**25
"""Those of the frames decoded before they are converted: sixteen of 1920 x 1080. Decoding and
converting by turns, one clears the caches of the other; to wait saves a few per cent."""

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
"""No others: Pillow gives some, such as EPS, to programs that execute them."""


def read_frames(
    path: str | Path,
    times: Sequence[float],
    size: tuple[int, int] | None = None,
    distinct: bool = False,
    deadline: float | None = None,
    exact_colours: bool = True,
) -> Tensor:
    """`read_pixels`, as `(F, 3, H, W)` RGB in [-1, 1], float32."""
    return to_float(read_pixels(path, times, size, distinct, deadline, exact_colours))


def read_pixels(
    path: str | Path,
    times: Sequence[float],
    size: tuple[int, int] | None = None,
    distinct: bool = False,
    deadline: float | None = None,
    exact_colours: bool = True,
) -> Tensor:
    """Reads the frame on display at each time: the last one shown at or before it.

    Args:
        path: a video file.
        times: seconds since the first frame, in any order, F of them.
        size: (height, width): shorter side resized, centre cropped; None takes the first frame's.
        distinct: whether two times that fall on one frame are an error.
        deadline: seconds after which the file is given up; None takes `container.DEADLINE`.
        exact_colours: True interpolates colour, of which most files store a quarter, and rounds.
            False takes less time over frames that keep their size, of a width that 16 divides:
            FFmpeg's quick conversion of 8-bit video, which repeats colour and rounds down, by one
            to two levels of 255 on average.

    Returns:
        `(F, 3, H, W)` RGB bytes.

    Raises:
        VideoError: the file cannot be read, a time lies outside it, a frame repeats under
            `distinct`, or the deadline has passed.
    """
    path = Path(path)
    if not times or not all(0 <= time < float("inf") for time in times):
        raise VideoError(f"{path}: times {list(times)} asked for; give one or more, none below 0 s")
    order = sorted(range(len(times)), key=lambda index: times[index])
    limit = Deadline(path, deadline)

    def read(is_counted: bool | None) -> tuple[Tensor, int]:
        with open_video(path, limit) as video:
            shown = _on_display(video, [times[index] for index in order], is_counted)
            return _collect(shown, order, size, video.pixel_aspect, exact_colours)

    try:
        pixels, count = read(is_counted=None)
    except OutOfOrderError:
        pixels, count = read(is_counted=True)
    if distinct and count < len(times):
        raise VideoError(
            f"{path}: {count} distinct frames where {len(times)} are needed; index it again"
        )
    return pixels


def _collect(
    shown: TimedFrames,
    places: Sequence[int],
    size: tuple[int, int] | None,
    pixel_aspect: float,
    exact_colours: bool,
) -> tuple[Tensor, int]:
    """`(F, 3, H, W)` RGB bytes with each frame at its place, and how many of them differ."""
    converter: RgbConverter | None = None
    pixels = torch.empty(0)
    drawn: dict[float, int] = {}
    for place, (time, frame) in zip(places, _decoded_ahead(shown), strict=True):
        if converter is None:
            converter = RgbConverter(frame, size, pixel_aspect, exact_colours)
            pixels = torch.empty(len(places), 3, *converter.size, dtype=torch.uint8)
        if time in drawn:
            pixels[place] = pixels[drawn[time]]
        else:
            converter.write(frame, pixels[place].numpy())
            drawn[time] = place
    return pixels, len(drawn)


def _decoded_ahead(shown: TimedFrames) -> TimedFrames:
    for time, frame in shown:
        count = _PIXELS_AHEAD // (frame.width * frame.height)
        held = deque([(time, frame), *islice(shown, max(count - 1, 0))])
        while held:
            yield held.popleft()


def _on_display(video: VideoFile, times: Sequence[float], is_counted: bool | None) -> TimedFrames:
    """The frame on display at each of the ascending `times`, with the frame's own time."""
    pending = deque(times)
    shown: tuple[float, VideoFrame] | None = None
    damage: DamagedError | None = None
    try:
        for time, frame in frames_around(video, times, is_counted):
            while shown and pending and time > pending[0] + TOLERANCE:
                pending.popleft()
                yield shown
            if not pending:
                return
            shown = time, frame
    except DamagedError as error:  # matters only if a frame behind it is wanted
        damage = error
    end = _end(*shown) if shown else 0.0
    while shown and pending and pending[0] <= end:
        pending.popleft()
        yield shown
    if pending:
        raise damage or VideoError(
            f"{video.path}: no frame at {pending[0]:.3f} s, it ends at {end:.3f} s; "
            "ask for earlier times"
        )


def _end(time: float, frame: VideoFrame) -> float:
    """Time at which the last frame leaves the screen."""
    assert frame.time_base is not None
    return time + max(float((frame.duration or 0) * frame.time_base), TOLERANCE)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose head alone has been read, of a size that can be decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused here, if at all
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise Image.DecompressionBombError
            yield image


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """`read_image_pixels`, as `(3, H, W)` RGB in [-1, 1], float32."""
    return to_float(read_image_pixels(path, size))


def read_image_pixels(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """Reads a still picture upright (by its EXIF tag), resized and cropped as by `read_frames`.

    PNG, JPEG, WebP, TIFF, BMP and GIF are read, whatever the file's suffix. Transparent parts stand
    on white, a colour profile is converted to sRGB, and greys of 16 bits or of floating point
    numbers (0 black, 1 white) keep their brightness.

    Returns:
        `(3, H, W)` RGB bytes.

    Raises:
        VideoError: the file is missing, is no picture of these kinds, has more than 2^27 pixels, or
            greys beyond white.
    """
    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{path}: no such file; check the path")
    try:
        with _opened(path) as image:
            pixels = _rgb_bytes(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise VideoError(f"{path}: over {LARGEST:,} pixels; give a smaller picture") from error
    except _RangeError as error:
        raise VideoError(f"{path}: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise VideoError(f"{path}: not an image, or damaged; give a PNG or JPEG file") from error
    return fit(torch.from_numpy(pixels).permute(2, 0, 1), size)


class _RangeError(Exception):
    """Numbers of a picture that do not say what is white."""


def _rgb_bytes(image: Image.Image) -> NDArray[np.uint8]:
    """`(H, W, 3)` as the picture is to be shown: 8 bits, on white, in the colours of sRGB."""
    if image.mode.startswith(("I", "F")):
        return np.repeat(_grey_bytes(np.asarray(image))[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        colour = np.asarray(_in_srgb(rgba.convert("RGB")))
        return on_white(colour, np.asarray(rgba)[..., 3:])
    return np.array(_in_srgb(image).convert("RGB"))


def _grey_bytes(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Greys of 16 bits, or floating point numbers from 0 to 1, as bytes."""
    white = 1.0 if grey.dtype.kind == "f" else 65535.0
    low, high = float(grey.min()), float(grey.max())
    if not 0 <= low <= high <= white:
        raise _RangeError(f"greys from {low:g} to {high:g}; scale them to 0 to {white:g}")
    return np.rint(grey * (255.0 / white)).astype(np.uint8)


def _in_srgb(image: Image.Image) -> Image.Image:
    """A picture of another colour profile, as telephones and scanners embed, in sRGB."""
    profile = image.info.get("icc_profile")
    if image.mode == "P":
        image = image.convert("RGB")
    if not profile or image.mode not in ("RGB", "CMYK", "LAB"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):  # a damaged profile, or one of another kind of picture
        return image
    return converted or image
