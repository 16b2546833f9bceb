"""What the demo measured, as a table: `python -m benchmarks.demo_table demo`."""

import json
import sys
from pathlib import Path

SETS = {"unseen scenes": "scenes", "unseen shot of a film": "film"}
METRICS = {
    "PSNR, dB": "psnr",
    "PSNR where occluded, dB": "psnr_occluded",
    "random-features distance": "random-feature_distance",
    "departure from the motion": "key-frame_warp_error",
}
COLUMNS = {  # title: model, row of it; what costs nothing is of the embedded model's motion
    "key frame, still": ("embedded", "_repeat"),
    "the same, warped": ("embedded", "_warp"),
    "embedded": ("embedded", ""),
    "fine-tuned": ("fine-tuned", ""),
}
PLACES = {
    "videos": "scene.gif, film.gif",
    "contact sheets": "scene_sheet.png, film_sheet.png",
    "motion": "scene_motion.safetensors, film_motion.safetensors",
    "fine-tuned model": "model",
    "logs": "runs (tensorboard --logdir demo/runs)",
}


def main(folder: str) -> None:
    """Prints one row a metric: whole videos of single pictures, motion generated."""
    tests = Path(folder) / "test"
    for title, name in SETS.items():
        measured = {model: _measured(tests / model / name) for model, _ in COLUMNS.values()}
        print(f"\n{title:27}" + "".join(f"{column:>18}" for column in COLUMNS))
        for row, metric in METRICS.items():
            values = (measured[m].get(f"test/{metric}{end}") for m, end in COLUMNS.values())
            print(f"{row:27}" + "".join(f"{_figure(value):>18}" for value in values))
    print()
    for what, name in PLACES.items():
        print(f"{what:18}{folder}/{name}")


def _measured(run: Path) -> dict[str, float]:
    known: dict[str, float] = json.loads((run / "metrics.json").read_text("utf-8"))
    return known


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
