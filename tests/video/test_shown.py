"""Videos and pictures come out as they are meant to be shown: shape, range, transparency, colours.

What is right is told by the ffmpeg program, by Pillow's own values, or by hand.
"""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageCms

from datamodules.buckets import shape_clips
from movideo.clips.clip import ClipSettings
from movideo.clips.index import index_clips
from movideo.clips.lists.rows import IndexSettings, describe_video
from movideo.errors import VideoError
from movideo.video.read import probe, read_image_pixels, read_pixels

PROGRAM = imageio_ffmpeg.get_ffmpeg_exe()
RADIUS = 30
CIRCLE = f"color=black:s=192x96:r=25:d=1,format=gray,geq=lum='255*lte(hypot(X-96,Y-48),{RADIUS})'"


def ffmpeg(*arguments):
    command = [PROGRAM, "-v", "fatal", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def circle(path, stored, aspect, *options):
    """A circle of 61 pixels on a picture shown at 192 x 96, stored in pixels of that aspect."""
    shape = f"scale={stored},setsar={aspect}"
    ffmpeg("-f", "lavfi", "-i", CIRCLE, "-vf", shape, "-pix_fmt", "yuv420p", *options, path)
    return path


# ------------------------------------------------------------------------------------ square pixels

SQUASHED = {
    "mp4": ("a.mp4", "128:96", "3/2"),
    "mkv": ("a.mkv", "288:96", "2/3"),
    "ts": ("a.ts", "128:96", "3/2", "-c:v", "libx264"),
    "webm": ("a.webm", "96:96", "2/1", "-c:v", "libvpx-vp9"),
    "told by the codec": ("a.avi", "144:96", "4/3", "-c:v", "mpeg4"),
    "turned": ("a.mp4", "128:96", "3/2"),
}


@pytest.mark.parametrize("name", SQUASHED)
def test_a_circle_stays_one(tmp_path, name):
    file, *how = SQUASHED[name]
    path = circle(tmp_path / file, *how)
    if name == "turned":
        path = tmp_path / "turned.mp4"
        ffmpeg("-display_rotation", 90, "-i", tmp_path / file, "-c", "copy", path)
    info = probe(path)
    shown = (192, 96) if name == "turned" else (96, 192)
    assert (info.height, info.width) == shown
    for size in (None, (96, 96)):
        lit = read_pixels(path, [0.0], size)[0, 1] > 128
        if size is None:
            assert lit.shape == shown
        # Scaled to a smaller width and back, its rim is a pixel wide.
        assert lit.any(0).sum() == pytest.approx(2 * RADIUS + 1, abs=2)
        assert lit.any(1).sum() == pytest.approx(2 * RADIUS + 1, abs=2)


def test_index_and_buckets_take_the_shape_shown(tmp_path):
    path = circle(tmp_path / "a.mp4", "128:96", "3/2")
    settings = ClipSettings(num_frames=5, size=(96, 96))
    row, *_ = describe_video(str(path), IndexSettings(settings))
    assert (row.video_height, row.video_width) == (96, 192)
    clips = index_clips(path, settings).clips
    (clip,) = shape_clips(clips, settings, [(5, 96, 128), (5, 96, 192)])
    assert clip.size == (96, 192)  # of 2 : 1; the stored picture is of 4 : 3


def test_an_absurd_pixel_is_taken_for_a_square(tmp_path):
    assert probe(circle(tmp_path / "a.mp4", "128:96", "100/1")).width == 128


# ------------------------------------------------------------------------------------------- range


HIGH = "format=gbrp,zscale=tin=bt709:pin=bt709:p=bt2020:m=bt2020nc:r=tv:npl=203:t={}"
TO_STANDARD = (
    "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=clip,"
    "zscale=t=bt709:m=bt709:r=tv,format=gbrp"
)


@pytest.mark.parametrize("transfer", ["arib-std-b67", "smpte2084"], ids=["HLG", "PQ"])
def test_high_range_keeps_its_contrast(tmp_path, transfer):
    path = tmp_path / "a.mkv"
    as_high = f"{HIGH.format(transfer)},format=yuv444p12le"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25", "-frames:v", 3, "-vf", as_high,
           "-c:v", "ffv1", path)  # fmt: skip
    raw = ffmpeg("-i", path, "-vf", f"{TO_STANDARD},format=rgb24", "-f", "rawvideo", "-")
    expected = np.frombuffer(raw, np.uint8).reshape(3, 64, 96, 3).astype(float)
    shown = read_pixels(path, [0.0, 0.04, 0.08]).movedim(1, -1).numpy().astype(float)
    assert shown.std() == pytest.approx(expected.std(), rel=0.2)
    # Two ways to bring colours into a smaller gamut, and HLG to the light of a display, differ.
    assert shown.mean() == pytest.approx(expected.mean(), abs=14)
    assert np.abs(shown - expected).mean() < 25  # untreated 55 to 70
    small = read_pixels(path, [0.0], (32, 48))
    assert small.shape == (1, 3, 32, 48)


# ----------------------------------------------------------------------------------------- fields


def test_interlaced_video_is_told(tmp_path, caplog):
    path = tmp_path / "a.ts"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:r=50:d=2", "-vf", "interlace", "-pix_fmt",
           "yuv420p", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", path)  # fmt: skip
    progressive = circle(tmp_path / "b.mp4", "192:96", "1")
    settings = ClipSettings(num_frames=5)
    assert describe_video(str(path), IndexSettings(settings))[0].interlaced is True
    assert describe_video(str(progressive), IndexSettings(settings))[0].interlaced is False
    assert index_clips([path, progressive], settings).interlaced == 1
    assert "1 of 2 videos are interlaced" in caplog.text


# --------------------------------------------------------------------------------- pictures: greys

RAMP = np.tile(np.arange(64), (8, 1))


@pytest.mark.parametrize(
    ("name", "values", "white"),
    [
        ("a.png", (RAMP * 1040).astype(np.uint16), 65535),
        ("a.tif", (RAMP * 1040).astype(np.uint16), 65535),
        ("a.tiff", (RAMP * 1040).astype(np.int32), 65535),
        ("b.tif", (RAMP / 63).astype(np.float32), 1),
        ("b.png", (RAMP * 4).astype(np.uint8), 255),
    ],
    ids=["16-bit png", "16-bit tiff", "32-bit tiff", "float tiff", "8-bit png"],
)
def test_greys_keep_their_brightness(tmp_path, name, values, white):
    Image.fromarray(values).save(tmp_path / name)
    shown = read_image_pixels(tmp_path / name).numpy()
    assert shown.shape == (3, 8, 64)
    assert np.abs(shown - values / white * 255).max() <= 0.5


def test_greys_beyond_white_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 3.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(VideoError, match=r"a\.tif: greys from 3\.5 to 3\.5; scale them to 0 to 1"):
        read_image_pixels(tmp_path / "a.tif")
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(VideoError, match=r"b\.tif: greys from nan"):
        read_image_pixels(tmp_path / "b.tif")


# -------------------------------------------------------------------------- pictures: transparency


def on_white(colour, alpha):
    return round((colour * alpha + 255 * (255 - alpha)) / 255)


@pytest.mark.parametrize("alpha", [0, 100, 255])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_transparent_parts_stand_on_white(tmp_path, suffix, alpha):
    picture = Image.new("RGBA", (8, 8), (200, 0, 50, alpha))
    picture.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    shown = read_image_pixels(tmp_path / f"a{suffix}")[:, 4, 4].tolist()
    assert shown == pytest.approx([on_white(value, alpha) for value in (200, 0, 50)], abs=1)


def test_other_ways_to_be_transparent(tmp_path):
    Image.new("LA", (4, 4), (40, 100)).save(tmp_path / "grey.png")
    assert read_image_pixels(tmp_path / "grey.png")[:, 0, 0].tolist() == [on_white(40, 100)] * 3
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 250, 10, 10])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read_image_pixels(tmp_path / "palette.png")[:, 0, 0].tolist() == [255, 255, 255]
    Image.new("RGB", (4, 4), (9, 8, 7)).save(tmp_path / "key.png", transparency=(9, 8, 7))
    assert read_image_pixels(tmp_path / "key.png")[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "png", "rgba"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mkv", "ffv1", "bgra"),
    ],
)
def test_transparent_video_stands_on_white(tmp_path, name, codec, pix_fmt):
    picture = "color=c=0xC80032:s=32x32:r=25,format=rgba,colorchannelmixer=aa=0.4"
    ffmpeg("-f", "lavfi", "-i", picture, "-frames:v", 2, "-c:v", codec, "-pix_fmt", pix_fmt,
           tmp_path / name)  # fmt: skip
    shown = read_pixels(tmp_path / name, [0.0])[0, :, 16, 16].tolist()
    expected = [on_white(value, 102) for value in (200, 0, 50)]
    assert shown == pytest.approx(expected, abs=4 if codec == "prores_ks" else 1)  # lossy


# -------------------------------------------------------------------------------- pictures: colours


def wide_profile():
    """A profile of colours other than sRGB's: here Lab, which comes with Pillow's library."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def test_a_colour_profile_is_heeded(tmp_path):
    srgb = Image.new("RGB", (8, 8), (120, 150, 180))
    lab = ImageCms.profileToProfile(
        srgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.save(tmp_path / "a.tif", icc_profile=wide_profile())
    assert read_image_pixels(tmp_path / "a.tif")[:, 4, 4].tolist() == pytest.approx(
        [120, 150, 180], abs=3
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_heeded_whatever_the_mode(tmp_path, mode):
    """sRGB with red and green exchanged: what is stored as one has to come out as the other."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"----", 1).replace(b"gXYZ", b"rXYZ", 1)
    exchanged = exchanged.replace(b"----", b"gXYZ", 1)
    picture = Image.new("RGB", (8, 8), (120, 150, 180))
    picture = picture.quantize() if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / "a.png", icc_profile=exchanged)
    shown = read_image_pixels(tmp_path / "a.png")[:, 4, 4].tolist()
    assert shown == pytest.approx([150, 120, 180], abs=2)


def test_a_damaged_profile_or_that_of_srgb_changes_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (b"no profile", srgb):
        Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
        shown = read_image_pixels(tmp_path / "a.png").permute(1, 2, 0).numpy()
        assert np.abs(shown.astype(int) - pixels).max() <= 1
