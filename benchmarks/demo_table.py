"""What the demo measured, as a table: `python -m benchmarks.demo_table demo`."""

import json
import sys
from pathlib import Path

ROWS = (  # title, run, metric, metric of the repeated key frame, metric of the warped key frame
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
        "stage 2: given motion, random-features distance",
        "stage2",
        "random-feature_distance",
        "random-feature_distance_repeat",
        "random-feature_distance_warp",
    ),
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
DECODERS = ("2-D", "flow-augmented")
DECODER_ROWS = (  # title, metric
    ("stage 3: decoding, PSNR dB", "psnr"),
    ("stage 3: decoding, random-features distance", "random-feature_distance"),
    ("stage 3: decoding, warp error", "key-frame_warp_error"),
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
    """Prints one row a metric, its baselines beside it, for unseen scenes and unseen real video."""
    runs = Path(folder) / "test"
    _head("ours", "repeat", "warp")
    for title, run, *metrics in ROWS:
        _row(title, *(_cells(runs / f"{run}-{kind}", metrics) for kind in SETS))
    print()
    _head("2-D", "flow", "truth")
    for title, metric in DECODER_ROWS:
        metrics = [f"{decoder}/{metric}" for decoder in (*DECODERS, "truth")]
        _row(title, *(_cells(runs / f"stage3-{kind}", metrics) for kind in SETS))
    print()
    for what, name in PLACES.items():
        print(f"{what:15}{Path(folder) / name}")


def _head(*columns: str) -> None:
    heads = "".join(f"{column:>9}" for column in columns)
    _row("", f"{'unseen scenes':^27}", f"{'unseen real video':^27}")
    _row("", heads, heads)


def _row(title: str, scenes: str, real: str) -> None:
    print(f"{title:49}{scenes}  {real}")


def _cells(run: Path, metrics: list[str | None]) -> str:
    path = run / "metrics.json"
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    values = (known.get(f"test/{metric}") for metric in metrics)
    return "".join(_cell(value) for value in values)


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'':9}"
    return f"{value:9.3g}" if abs(value) < 1 else f"{value:9.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
