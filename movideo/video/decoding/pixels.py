"""Between stored pixels and tensors: colour matrices, rotation, resizing, bytes and floats."""

from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import torchvision.transforms.v2.functional as F
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

_Pixels = TypeVar("_Pixels", Tensor, NDArray[np.uint8])

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_EXACT_RGB = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_QUICK_RGB = Interpolation.BILINEAR  # libswscale's own choice where the size stays
_QUICK_WIDTHS = 16  # their multiples; of others it leaves the last columns as they were in memory
_HIGH_RANGE = (16, 18)  # transfer characteristics PQ and HLG (ITU-T H.273)
# Flags would have libswscale take its older way, with which high range comes out far too dark.
_STANDARD_RANGE = "out_transfer=bt709:out_primaries=bt709:intent=relative_colorimetric"
_ANY_CLOCK = Fraction(1, 1000)
_TO_YUV = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


def rotation(frame: VideoFrame) -> int:
    """Degrees counter-clockwise by which the frame is turned to be shown: 0, 90, 180 or 270."""
    return round(frame.rotation / 90) * 90 % 360


def shown_size(frame: VideoFrame, pixel_aspect: float) -> tuple[int, int]:
    """(height, width) of the frame as it is shown, upright and of square pixels."""
    swaps, _, _ = _orientation(frame)
    return _turned(_square(frame, pixel_aspect), swaps)


def _square(frame: VideoFrame, pixel_aspect: float) -> tuple[int, int]:
    return frame.height, max(1, round(frame.width * pixel_aspect))


def _turned(size: tuple[int, int], swaps: bool) -> tuple[int, int]:
    return size[::-1] if swaps else size


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Whether x and y swap for the frame to be shown, and whether then x, and y, run backwards.

    The file's matrix holds a, b, u, c, d, v, …: x' = a x + c y, y' = b x + d y.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = (int(value) for value in np.frombuffer(matrix, np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


class RgbConverter:
    """Writes a file's frames as RGB; used for all of them, it prepares libswscale's tables once.

    Args:
        first: tells how the file's frames are turned. The others are not asked: PyAV keeps a frame
            that was, until Python next looks for cycles of references.
        size: (height, width) to which frames are brought as by `fit`; None takes the first one's.
        pixel_aspect: width of a stored pixel over its height.
        exact_colours: False repeats halved samples of colour where the size stays, and rounds down.
    """

    def __init__(
        self,
        first: VideoFrame,
        size: tuple[int, int] | None,
        pixel_aspect: float = 1.0,
        exact_colours: bool = True,
    ) -> None:
        self._swaps, *self._backwards = _orientation(first)
        self.size = size or shown_size(first, pixel_aspect)
        self._pixel_aspect = pixel_aspect
        self._exact_colours = exact_colours
        self._reformatter = VideoReformatter()
        self._to_standard_range: Graph | None = None

    def write(self, frame: VideoFrame, out: NDArray[np.uint8]) -> None:
        """Fills `out`, `(3, H, W)` RGB bytes, by the matrix and range that the frame names.

        Colour and size change in one step: libswscale computes with 15 bits in between, and scales
        the halved colour planes from the size they are stored in. Where a frame is transparent, it
        stands on white; high dynamic range is clipped at the white of the standard range.
        """
        shown = _turned(_square(frame, self._pixel_aspect), self._swaps)
        height, width = _turned(_covering(shown, self.size), self._swaps)
        is_scaled = (height, width) != (frame.height, frame.width)
        exact = self._exact_colours or is_scaled or width % _QUICK_WIDTHS > 0
        if frame.color_trc in _HIGH_RANGE:
            frame = self._in_standard_range(frame, height, width)
        has_alpha = _has_alpha(frame)
        planar = self._reformatter.reformat(
            frame,
            width,
            height,
            # libswscale has vector code for planes, none for interleaved RGB
            format="gbrap" if has_alpha else "gbrp",
            src_colorspace=_matrix(frame),
            interpolation=_EXACT_RGB if exact else _QUICK_RGB,
            threads=1,
        )
        flip = tuple(slice(None, None, -1 if axis else 1) for axis in reversed(self._backwards))
        green, blue, red, *alpha = map(_bytes, planar.planes)
        for channel, plane in zip(out, (red, green, blue), strict=True):
            shade = on_white(plane, alpha[0]) if has_alpha else plane
            upright = (shade.T if self._swaps else shade)[flip]
            np.copyto(channel, _center_crop(upright, self.size))

    def _in_standard_range(self, frame: VideoFrame, height: int, width: int) -> VideoFrame:
        """BT.709, as most video is in: libswscale converts to it in its filter alone."""
        if self._to_standard_range is None:
            graph = self._to_standard_range = Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=_ANY_CLOCK
            )
            graph.link_nodes(
                source,
                graph.add("scale", f"{width}:{height}:{_STANDARD_RANGE}"),
                graph.add("format", "gbrp16le"),
                graph.add("buffersink"),
            ).configure()
        self._to_standard_range.push(frame)
        converted = self._to_standard_range.pull()
        assert isinstance(converted, VideoFrame)
        return converted


def on_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes of a colour over white, for bytes of alpha: 0 transparent, 255 opaque."""
    over = colour.astype(np.float32) * alpha + 255.0 * (255.0 - alpha)
    return np.rint(over / 255).astype(np.uint8)


def _has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def _matrix(frame: VideoFrame) -> int:
    """The colour matrix; where the file names none, players guess by size, and so do we."""
    if frame.colorspace != _UNSPECIFIED:
        return frame.colorspace
    large = frame.width >= 1280 or frame.height > 576
    return Colorspace.ITU709 if large else Colorspace.ITU601


def _bytes(plane: VideoPlane) -> NDArray[np.uint8]:
    """`(H, W)` bytes of a plane, without the padding of its rows; shares its memory."""
    padded: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
    return padded.reshape(plane.height, plane.line_size)[:, : plane.width]


def encode_frame(pixels: NDArray[np.uint8], pix_fmt: str) -> VideoFrame:
    """`(H, W, 3)` RGB bytes to a frame of BT.709 colour in the limited range."""
    return VideoReformatter().reformat(
        VideoFrame.from_ndarray(pixels, format="rgb24"),
        format=pix_fmt,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=_TO_YUV,
        threads=1,
    )


def fit(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Resizes `(…, 3, H, W)` (antialiased, ratio kept) to just cover `size`, crops the centre."""
    have = (image.shape[-2], image.shape[-1])
    if size is None or have == tuple(size):
        return image
    resized: Tensor = F.resize(image, list(_covering(have, size)), antialias=True)
    return _center_crop(resized, size)


def _covering(have: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The smallest size that covers `wanted` and keeps the ratio of `have`."""
    scale = max(w / h for w, h in zip(wanted, have, strict=True))
    height, width = (max(w, round(h * scale)) for w, h in zip(wanted, have, strict=True))
    return height, width


def _center_crop(image: _Pixels, size: tuple[int, int]) -> _Pixels:
    height, width = size
    top, left = (round((h - w) / 2) for h, w in zip(image.shape[-2:], size, strict=True))
    return image[..., top : top + height, left : left + width]


def to_float(image: Tensor) -> Tensor:
    """Bytes in 0 to 255 to float32 in [-1, 1]."""
    return image.float() / 127.5 - 1


def quantize(video: Tensor) -> Tensor:
    """RGB in [-1, 1] to the bytes that a file would hold, clamped and rounded."""
    return ((video.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte()


def to_bytes(video: Tensor) -> NDArray[np.uint8]:
    """`(…, 3, H, W)` RGB in [-1, 1] to bytes `(…, H, W, 3)`, clamped and rounded."""
    array: NDArray[np.uint8] = quantize(video).movedim(-3, -1).contiguous().cpu().numpy()
    return array
