"""What the demo measured, as a table: `python -m benchmarks.demo_table demo`."""

import json
import sys
from pathlib import Path

ROWS = (  # title, run, figure, figure of the repeated key frame, figure of the warped key frame
    ("stage 0: reconstruction, PSNR dB", "stage2", "psnr_reconstructed", None, None),
    (
        "stage 1: motion from an image, error px",
        "stage1",
        "end_point_error",
        "end_point_error_still",
        None,
    ),
    ("stage 1: motion from an image, cosine", "stage1", "flow_cosine", None, None),
    ("stage 2: given motion, PSNR dB", "stage2", "psnr", "psnr_repeat", "psnr_warp"),
    (
        "stage 2: given motion, occluded part, PSNR dB",
        "stage2",
        "psnr_occluded",
        "psnr_occluded_repeat",
        "psnr_occluded_warp",
    ),
    ("whole chain, motion generated, PSNR dB", "chain", "psnr", "psnr_repeat", "psnr_warp"),
    ("difficulty: 4x down and up, PSNR dB", "stage2", "psnr_resampled", None, None),
    ("difficulty: occluded share", "stage2", "occluded", None, None),
)
PLACES = {
    "video": "movideo.mp4",
    "contact sheet": "movideo.png",
    "motion": "motion.safetensors",
    "model": "model",
    "logs": "runs",
}
SETS = ("scenes_unseen", "real_unseen")


def main(folder: str) -> None:
    """Prints one row a figure, its rivals beside it, for unseen scenes and an unseen real video."""
    print(f"{'':47}{'unseen scenes':^27}  {'unseen real video':^27}")
    heads = "".join(f"{head:>9}" for head in ("ours", "repeat", "warp"))
    print(f"{'':47}{heads}  {heads}")
    for title, run, *figures in ROWS:
        cells = [
            "".join(_cell(Path(folder) / "test" / f"{run}-{kind}", figure) for figure in figures)
            for kind in SETS
        ]
        print(f"{title:47}{cells[0]}  {cells[1]}")
    print()
    for what, name in PLACES.items():
        print(f"{what:15}{Path(folder) / name}")


def _cell(run: Path, figure: str | None) -> str:
    path = run / "metrics.json"
    if figure is None or not path.is_file():
        return f"{'':9}"
    value = json.loads(path.read_text("utf-8"))[f"test/{figure}"]
    return f"{value:9.3f}" if abs(value) < 1 else f"{value:9.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
