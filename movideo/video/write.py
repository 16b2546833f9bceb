"""Videos and pictures to files."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from PIL import Image
from torch import Tensor

from movideo.errors import UserError
from movideo.storage.atomic import whole_file
from movideo.video.decoding.pixels import encode_frame, to_bytes

_BT709 = 1
_REPEATABLE = "mbtree=0"
"""x264's macroblock tree gives small videos other bytes from run to run, with one thread too."""
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def write_mp4(
    path: str | Path, video: Tensor, fps: float, quality: int = 14, pix_fmt: str | None = None
) -> None:
    """Writes H.264 in an mp4 file, BT.709 colour, frame i shown at i / fps seconds.

    Args:
        path: the file; its folders are made.
        video: `(F, 3, H, W)` RGB in [-1, 1].
        fps: frames per second, over 0.
        quality: x264's constant rate factor: 0 (largest file) to 51 (worst).
        pix_fmt: `yuv420p` (colour at half resolution, plays anywhere) or `yuv444p` (all of it).
            None takes `yuv420p` where both sides are even and `yuv444p` otherwise, since no odd
            side can be halved: no pixel is added or lost.

    Raises:
        UserError: there is nothing to write, fps is not above 0, yuv420p is asked for an odd side,
            or the file cannot be written.
    """
    _check(path, video, fps)
    even = video.shape[-2] % 2 == video.shape[-1] % 2 == 0
    pix_fmt = pix_fmt or ("yuv420p" if even else "yuv444p")
    if pix_fmt == "yuv420p" and not even:
        raise UserError(f"{path}: yuv420p cannot hold {tuple(video.shape[-2:])}; use yuv444p")
    rate = Fraction(fps).limit_denominator(1001)
    with (
        whole_file(path) as temporary,
        _os_errors(),
        av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        options = {"crf": str(quality), "x264-params": _REPEATABLE}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = video.shape[-2:]
        stream.pix_fmt, stream.thread_count, stream.time_base = pix_fmt, 1, 1 / rate
        context = stream.codec_context
        context.color_range, context.colorspace = ColorRange.MPEG, _BT709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for index, pixels in enumerate(to_bytes(video)):
            frame = encode_frame(pixels, pix_fmt)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_gif(path: str | Path, video: Tensor, fps: float) -> None:
    """Writes an endless GIF, 256 colours a frame.

    GIF counts hundredths of a second: frame i starts at i / fps rounded, so the whole never drifts.

    Args:
        path: the file; its folders are made.
        video: `(F, 3, H, W)` RGB in [-1, 1].
        fps: frames per second, above 0 and at most 100.

    Raises:
        UserError: there is nothing to write, fps is out of range, or the file cannot be written.
    """
    _check(path, video, fps, most=100)
    starts = [int(100 * index / fps + 0.5) for index in range(len(video) + 1)]
    durations = [10 * (end - start) for start, end in pairwise(starts)]
    images = [Image.fromarray(pixels).quantize() for pixels in to_bytes(video)]
    with whole_file(path) as temporary:
        images[0].save(
            temporary, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
        )


def write_image(path: str | Path, image: Tensor) -> None:
    """Writes one `(3, H, W)` picture, RGB in [-1, 1], in the format its suffix names.

    Suffixes: png, jpg, jpeg, webp.

    Raises:
        UserError: the suffix is another one, or the file cannot be written.
    """
    if Path(path).suffix.lower() not in _PICTURES:
        raise UserError(
            f"{path}: no picture format of that suffix; use one of {', '.join(_PICTURES)}"
        )
    with whole_file(path) as temporary:
        Image.fromarray(to_bytes(image)).save(temporary, quality=95)


def _check(path: str | Path, video: Tensor, fps: float, most: float = float("inf")) -> None:
    if video.ndim != 4 or video.shape[1] != 3 or not len(video):
        raise UserError(f"{path}: a video of shape {tuple(video.shape)}; give (F, 3, H, W), F > 0")
    if not 0 < fps <= most:
        raise UserError(f"{path}: {fps} frames per second; give a number above 0, at most {most:g}")


@contextmanager
def _os_errors() -> Iterator[None]:
    """Not all of FFmpeg's errors are errors of the operating system to Python."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error
