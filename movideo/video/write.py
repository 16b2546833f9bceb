"""Videos and pictures to files, under a temporary name first, so that none is half-written."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from PIL import Image
from torch import Tensor

from movideo.errors import UserError
from movideo.video.decoding.pixels import encode_frame, to_bytes

_BT709 = 1
_REPEATABLE = "mbtree=0"
"""x264's macroblock tree gives small videos other bytes from run to run, with one thread too."""
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


_TEMPORARY = ".{name}.part{suffix}"
"""Beside the file and hidden; the suffix tells writers the format."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; afterwards renames it, or removes it after an error.

    The temporary name follows from `path` alone: who writes the same file again overwrites what a
    killed process left. A living one holds a lock, and others wait for it to end.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    path = Path(path)
    temporary = path.with_name(_TEMPORARY.format(name=path.name, suffix=path.suffix))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(temporary), _removed_after_errors(temporary):
            yield temporary
            os.replace(temporary, path)
    except (OSError, av.FFmpegError) as error:
        what = error.strerror or error
        raise UserError(f"{path}: cannot be written ({what}); choose another place") from error


def check_writable(path: str | Path) -> None:
    """Finds out before long work that its result could not be written.

    Raises:
        UserError: the place is a folder, or its folder cannot be made or written to.
    """
    if os.path.isdir(path):  # unlike Path.is_dir, it never raises
        raise UserError(f"{path}: a folder; name a file in it")
    with suppress(_EnoughError), whole_file(path):
        raise _EnoughError  # the temporary file was made; it goes again, and what is there stays


class _EnoughError(Exception):
    pass


def remove_leftovers(folder: str | Path) -> None:
    """Removes the temporary files of killed processes from a folder; those of living ones stay."""
    for path in Path(folder).glob(_TEMPORARY.format(name="*", suffix="*")):
        with suppress(OSError), _locked(path, wait=False):
            path.unlink()


@contextmanager
def _removed_after_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):  # never there
            path.unlink()
        raise


@contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Holds a file, made if missing, against other processes; the kernel ends it with a kill.

    Raises:
        OSError: the file cannot be made, or, without `wait`, another process holds it.
    """
    while True:
        if path.is_symlink():  # another's, maybe: what is written shall not land where it leads
            path.unlink(missing_ok=True)
        with open(path, "ab", opener=_no_link) as file, _lock(file.fileno(), wait):
            # Who held it before may have renamed or removed the file that was opened here.
            if _is_at(path, file.fileno()):
                yield
                return


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextmanager
def _lock(descriptor: int, wait: bool) -> Iterator[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        # Some network file systems know no locks: a file is then written without, never removed.
        if not wait:
            raise
    try:
        yield
    finally:
        with suppress(OSError):
            # Closing is not enough: a process forked meanwhile has the same lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


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
