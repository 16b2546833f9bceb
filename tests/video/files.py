"""Video files for the tests, made with PyAV. Frame i shows i as a 4 x 4 pattern of 16 bits."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch


def numbered_frame(number, height=64, width=64):
    bits = [(number >> bit) & 1 for bit in range(16)]
    pattern = np.array(bits, np.uint8).reshape(4, 4) * 255
    pixels = np.kron(pattern, np.ones((height // 4, width // 4), np.uint8))
    return np.repeat(pixels[..., None], 3, axis=2)


def read_number(frame: torch.Tensor) -> int:
    """The number that a `(3, H, W)` frame shows."""
    height, width = frame.shape[-2:]
    centres = frame.mean(0)[height // 8 :: height // 4, width // 8 :: width // 4]
    return sum(int(bit) << place for place, bit in enumerate((centres.flatten() > 0).tolist()))


def write_frames(
    path,
    frames,
    stamps,
    time_base,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    options=None,
    matrix=None,
    colorspace=None,
    color_range=None,
    gop=10,
) -> Path:
    """Writes uint8 RGB frames at the given integer time stamps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.thread_count, stream.gop_size = pix_fmt, 1, gop
        stream.time_base = stream.codec_context.time_base = Fraction(time_base)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        if color_range is not None:
            stream.codec_context.color_range = color_range
        for pixels, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=colorspace, dst_color_range=color_range
            )
            frame.pts, frame.time_base = stamp, Fraction(time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


def write_numbered(path, count, fps, **kwargs) -> Path:
    """`count` numbered frames at a constant rate."""
    frames = [numbered_frame(number) for number in range(count)]
    return write_frames(path, frames, range(count), 1 / Fraction(fps), **kwargs)


def write_audio(path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)
