"""What the paper's tables print, to stand beside what a test measures."""

from __future__ import annotations

from dataclasses import dataclass

from movideo.errors import UserError

PAPER = "MoVideo (Liang et al. 2023, arXiv 2311.11325)"
UNKNOWN = "its numbers are not known here"


@dataclass(frozen=True)
class PublishedRow:
    """A method as the paper prints it.

    Attributes:
        method: its name.
        source: who made it.
        values: by the name of the metric, in the units of ours.
    """

    method: str
    source: str
    values: dict[str, float]


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper.

    Attributes:
        title: what is compared.
        source: where the numbers stand.
        protocol: what the paper says of how they were measured.
        rows: as printed; empty where they are not known.
    """

    title: str
    source: str
    protocol: str
    rows: tuple[PublishedRow, ...] = ()


_GENERATED = "zero-shot, videos of 17 frames of 256x256 at 3 fps"
_MOVIDEO = "Liang et al. 2023"
_COGVIDEO = "Hong et al. 2022"
_MAKE_A_VIDEO = "Singer et al. 2022"
_VIDEO_LDM = "Blattmann et al. 2023"


def _ucf101(method: str, source: str, inception: float, fvd: float) -> PublishedRow:
    return PublishedRow(method, source, {"IS": inception, "FVD": fvd})


def _msrvtt(method: str, source: str, fid: float, clipsim: float) -> PublishedRow:
    return PublishedRow(method, source, {"FID": fid, "CLIPSIM": clipsim})


def _decoder(name: str, psnr: float, lpips: float, fid: float, fvd: float) -> PublishedRow:
    return PublishedRow(name, _MOVIDEO, {"PSNR": psnr, "LPIPS": lpips, "FID": fid, "FVD": fvd})


TABLES = {
    "ucf101": PublishedTable(
        "Zero-shot text to video on UCF-101",
        f"{PAPER}, Table 1",
        _GENERATED,
        (
            _ucf101("CogVideo", _COGVIDEO, 25.27, 701.59),
            _ucf101("Make-A-Video", _MAKE_A_VIDEO, 33.00, 367.23),
            _ucf101("Video LDM", _VIDEO_LDM, 33.45, 550.61),
            _ucf101("MoVideo", _MOVIDEO, 34.13, 313.41),
        ),
    ),
    "msrvtt": PublishedTable(
        "Zero-shot text to video on MSR-VTT",
        f"{PAPER}, Table 2",
        _GENERATED,
        (
            _msrvtt("NUWA", "Wu et al. 2022", 47.68, 0.2439),
            _msrvtt("CogVideo", _COGVIDEO, 23.59, 0.2631),
            _msrvtt("Latent-Shift", "An et al. 2023", 15.23, 0.2773),
            _msrvtt("Make-A-Video", _MAKE_A_VIDEO, 13.17, 0.3049),
            PublishedRow("Video LDM", _VIDEO_LDM, {"CLIPSIM": 0.2929}),
            _msrvtt("MoVideo", _MOVIDEO, 12.71, 0.3213),
        ),
    ),
    "prompts": PublishedTable(
        "Text to video of prompts",
        f"{PAPER}, Table 3",
        "100 prompts; of 30 people 81.3% preferred MoVideo to VideoFusion",
    ),
    "davis_i2v": PublishedTable(
        "Image to video on DAVIS", f"{PAPER}, Table 4", "beside flow warping and Gen-1, retrained"
    ),
    "davis_decoder": PublishedTable(
        "Decoders of the same latents, on DAVIS",
        f"{PAPER}, Table 5",
        "clips of DAVIS through the pretrained image encoder",
        (
            _decoder("2-D", 30.11, 0.093, 43.28, 401.66),
            _decoder("3-D", 29.99, 0.087, 42.71, 379.73),
            _decoder("flow-augmented", 29.88, 0.079, 40.14, 335.53),
        ),
    ),
    "ablations": PublishedTable(
        "Stage 2 without parts of its condition",
        f"{PAPER}, Table 6",
        "the paper finds both worse: without the warped latent, and without the mask",
    ),
}


def published_table(name: str) -> PublishedTable:
    """The table of that name.

    Raises:
        UserError: there is none.
    """
    if name not in TABLES:
        raise UserError(f"table: {name}; choose one of {', '.join(TABLES)}, or null")
    return TABLES[name]
