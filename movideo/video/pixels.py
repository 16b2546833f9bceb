"""Between stored pixels and tensors: colour matrices, rotation, resizing, bytes and floats."""

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_ACCURATE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
_TO_RGB = _ACCURATE | Interpolation.FULL_CHR_H_INT
_TO_YUV = _ACCURATE | Interpolation.FULL_CHR_H_INP


def rotation(frame: VideoFrame) -> int:
    """Degrees counter-clockwise by which the frame is turned to be shown: 0, 90, 180 or 270."""
    return round(frame.rotation / 90) * 90 % 360


def decode_frame(frame: VideoFrame) -> Tensor:
    """`(3, H, W)` RGB bytes, upright, converted by the matrix and range that the frame names."""
    matrix: int = frame.colorspace
    if matrix == _UNSPECIFIED:  # players guess by size, and so do we
        large = frame.width >= 1280 or frame.height > 576
        matrix = Colorspace.ITU709 if large else Colorspace.ITU601
    rgb = VideoReformatter().reformat(
        frame, format="rgb24", src_colorspace=matrix, interpolation=_TO_RGB, threads=1
    )
    pixels = np.rot90(rgb.to_ndarray(), rotation(frame) // 90)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


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
    if size is None or tuple(image.shape[-2:]) == tuple(size):
        return image
    sides = list(zip(size, image.shape[-2:], strict=True))
    scale = max(wanted / have for wanted, have in sides)
    covering = [max(wanted, round(have * scale)) for wanted, have in sides]
    fitted: Tensor = F.center_crop(F.resize(image, covering, antialias=True), list(size))
    return fitted


def to_float(image: Tensor) -> Tensor:
    """Bytes in 0 to 255 to float32 in [-1, 1]."""
    return image.float() / 127.5 - 1


def to_bytes(video: Tensor) -> NDArray[np.uint8]:
    """`(…, 3, H, W)` RGB in [-1, 1] to bytes `(…, H, W, 3)`, clamped and rounded."""
    pixels = ((video.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte()
    array: NDArray[np.uint8] = pixels.movedim(-3, -1).contiguous().cpu().numpy()
    return array
