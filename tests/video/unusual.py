"""Valid videos of unusual kinds, made on the fly."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(number: int, height: int, width: int) -> np.ndarray:
    """Waves of colour that move, fine enough to tell filters apart."""
    y, x = np.mgrid[:height, :width]
    waves = (
        90 * np.sin(x / 7 + number / 3) + 30 * np.sin(y / 5),
        90 * np.sin(y / 6 - number / 4) + 30 * np.cos(x / 3),
        90 * np.sin((x + y) / 9 + number / 5),
    )
    return (127 + np.stack(waves, -1)).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Unusual:
    """A valid video, and how the ffmpeg program has to be asked for its frames.

    Attributes:
        name: the file's, by whose suffix the container is chosen.
        codec: the encoder.
        pix_fmt: as FFmpeg names it.
        size: (height, width), stored.
        stamps: time stamps of the frames.
        time_base: seconds of one unit of `stamps`.
        turned: filter that turns the stored frames as they are shown.
        scaling: options of the filter `scale` that converts them. FFmpeg's library takes the place
            of the colour samples and the order of fields from each frame, its program does not.
    """

    name: str
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (48, 64)
    stamps: tuple[int, ...] = tuple(range(12))
    time_base: Fraction = Fraction(1, 25)
    options: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    colorspace: int | None = None
    rotation: tuple = (0,)
    turned: str = "null"
    scaling: str = "in_chroma_loc=left"

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        with av.open(str(path), "w", options=self.muxer) as container:
            stream = container.add_stream(self.codec, rate=25, options=self.options)
            stream.height, stream.width = self.size
            stream.pix_fmt, stream.thread_count, stream.gop_size = self.pix_fmt, 1, 6
            stream.time_base = stream.codec_context.time_base = self.time_base
            stream.set_display_rotation(*self.rotation)
            if self.colorspace is not None:
                stream.codec_context.colorspace = self.colorspace
            for number, stamp in enumerate(self.stamps):
                frame = av.VideoFrame.from_ndarray(picture(number, *self.size), format="rgb24")
                frame = frame.reformat(format=self.pix_fmt, dst_colorspace=self.colorspace)
                frame.pts, frame.time_base = stamp, self.time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path


_X265 = {"x265-params": "log-level=none:pools=1"}
_VP9 = {"deadline": "realtime", "cpu-used": "8"}
_GAPS = (0, 10, 30, 33, 100, 104, 108, 200, 350, 354, 358, 500)
_TENTHS = tuple(range(0, 120, 10))
_LONG = tuple(range(30))
_TURNED = {"rotation": (90,), "turned": "transpose=cclock"}
_MIDDLE = "in_chroma_loc=auto"
_FIELDS = "in_chroma_loc=left:interl=1"

UNUSUAL = [
    # more bits, more or less colour
    Unusual("h264-10-bit.mp4", pix_fmt="yuv420p10le"),
    Unusual("h264-422.mp4", pix_fmt="yuv422p"),
    Unusual("h264-444.mp4", pix_fmt="yuv444p"),
    Unusual("h264-422-10-bit.mkv", pix_fmt="yuv422p10le"),
    Unusual("h264-444-10-bit.mp4", pix_fmt="yuv444p10le"),
    Unusual("h264-full-range.mp4", pix_fmt="yuvj420p"),
    Unusual("h264-grey.mp4", pix_fmt="gray"),
    Unusual("h264-rgb.mkv", "libx264rgb", "rgb24"),
    Unusual("hevc.mp4", "libx265", options=_X265),
    Unusual("hevc-10-bit.mp4", "libx265", "yuv420p10le", options=_X265),
    Unusual("hevc-12-bit-444.mkv", "libx265", "yuv444p12le", options=_X265),
    Unusual("av1.mp4", "libsvtav1", size=(64, 64), options={"preset": "12"}, scaling=_MIDDLE),
    Unusual("vp8.webm", "libvpx", options={"deadline": "realtime"}, scaling=_MIDDLE),
    Unusual("vp9-444.webm", "libvpx-vp9", "yuv444p", options=_VP9),
    Unusual("vp9-alpha.webm", "libvpx-vp9", "yuva420p", options=_VP9, scaling=_MIDDLE),
    Unusual("mjpeg.avi", "mjpeg", "yuvj420p", scaling=_MIDDLE),
    Unusual("mjpeg-422.mov", "mjpeg", "yuvj422p", scaling=_MIDDLE),
    Unusual("mpeg1.mpg", "mpeg1video", scaling=_MIDDLE),
    Unusual("mpeg2.ts", "mpeg2video", options={"bf": "2"}),
    Unusual("mpeg2-422.mkv", "mpeg2video", "yuv422p"),
    Unusual("mpeg4.avi", "mpeg4"),
    Unusual("h263.3gp", "h263", size=(144, 176), scaling=f"192:144:{_MIDDLE}"),
    Unusual("sorenson.flv", "flv", scaling=_MIDDLE),
    Unusual("wmv2.wmv", "wmv2", scaling=_MIDDLE),
    Unusual("prores.mov", "prores_ks", "yuv422p10le", scaling=_MIDDLE),
    Unusual("prores-alpha.mov", "prores_ks", "yuva444p10le"),
    Unusual("ffv1.mkv", "ffv1", scaling=_MIDDLE),
    Unusual("ffv1-alpha.mkv", "ffv1", "bgra"),
    Unusual("ffv1-grey-16-bit.mkv", "ffv1", "gray16le"),
    Unusual("ffv1-16-bit.mkv", "ffv1", "yuv420p16le", scaling=_MIDDLE),
    Unusual("ffv1-411.mkv", "ffv1", "yuv411p", scaling=_MIDDLE),
    Unusual("ffv1-410.mkv", "ffv1", "yuv410p", scaling=_MIDDLE),
    Unusual("huffyuv.avi", "huffyuv", "yuv422p", scaling=_MIDDLE),
    Unusual("utvideo.avi", "utvideo", "gbrp"),
    Unusual("uncompressed.avi", "rawvideo", scaling=_MIDDLE),
    Unusual("qtrle-alpha.mov", "qtrle", "argb"),
    Unusual("png-alpha.mov", "png", "rgba"),
    Unusual("png-16-bit.mov", "png", "rgb48be"),
    Unusual("palette.gif", "gif", "rgb8", stamps=_TENTHS, time_base=Fraction(1, 100)),
    Unusual("animated.apng", "apng", "rgb24"),
    # colour matrices by name
    Unusual("bt709.mp4", colorspace=1),
    Unusual("fcc.mp4", colorspace=4),
    Unusual("smpte240m.mp4", colorspace=7),
    Unusual("bt2020.mp4", colorspace=9),
    # sizes
    Unusual("odd-h264.mp4", pix_fmt="yuv444p", size=(33, 17)),
    Unusual("odd-vp9.webm", "libvpx-vp9", size=(35, 51), options=_VP9, scaling=_MIDDLE),
    Unusual("odd-ffv1.mkv", "ffv1", size=(31, 45), scaling=_MIDDLE),
    Unusual("odd-mjpeg.avi", "mjpeg", "yuvj420p", size=(37, 63), scaling=_MIDDLE),
    Unusual("four-pixels.mkv", "ffv1", size=(2, 2), scaling=_MIDDLE),
    Unusual("one-pixel.mkv", "ffv1", "yuv444p", size=(1, 1)),
    Unusual("strip.mkv", "ffv1", size=(2, 500), scaling=_MIDDLE),
    # turned and mirrored
    Unusual("quarter-turn.mp4", **_TURNED),
    Unusual("half-turn.mp4", rotation=(180,), turned="hflip,vflip"),
    Unusual("quarter-turn-back.mp4", rotation=(270,), turned="transpose=clock"),
    Unusual("odd-turned.mp4", pix_fmt="yuv444p", size=(33, 17), **_TURNED),
    Unusual("mirrored.mp4", rotation=(0, True), turned="hflip"),
    Unusual("upside-down.mp4", rotation=(0, False, True), turned="vflip"),
    Unusual("turned-and-mirrored.mp4", rotation=(90, True), turned="transpose=cclock,hflip"),
    # time and order
    Unusual("variable.mp4", stamps=_GAPS, time_base=Fraction(1, 100)),
    Unusual("variable.mkv", stamps=_GAPS, time_base=Fraction(1, 1000)),
    Unusual("late.mp4", stamps=tuple(range(500, 512))),
    Unusual("late.ts", stamps=tuple(range(500, 512))),
    Unusual("early.mkv", stamps=tuple(range(-3, 9))),
    Unusual("b-frames.mp4", stamps=_LONG, options={"bf": "3", "b-adapt": "0"}),
    Unusual("open-gop.mp4", stamps=_LONG, options={"x264-params": "open-gop=1:bframes=3"}),
    Unusual("fields.mp4", options={"x264-params": "tff=1"}, scaling=_FIELDS),
    Unusual("fields.ts", "mpeg2video", options={"flags": "+ildct+ilme"}, scaling=_FIELDS),
    Unusual("progressive-in-fields.mp4", options={"x264-params": "fake-interlaced=1"}),
    Unusual("fragments.mp4", muxer={"movflags": "frag_keyframe+empty_moov"}),
]  # fmt: skip
