"""What is not loaded: by a training step no pipeline, by a report no PyAV, by help no torch."""

import subprocess
import sys

import pytest

TRAINING = """
import stages
for name in stages.TRAINED:
    getattr(stages, name)
"""
REPORT = """
from movideo.evaluation.provenance import Software
from movideo.evaluation.report import Report
Report(None, None, {}, 0, {}, {}, {}, None, Software("3", {}, None), None).content
import movideo.evaluation.page
"""
FILES = "import movideo.hub.checkpoint, movideo.storage.atomic, movideo.storage.tables"

HELP = """
from movideo.cli import main
for arguments in (["--help"], ["--version"], ["generate", "--help"], ["export", "--help"]):
    try:
        main(arguments)
    except SystemExit:
        pass
"""
GENERATE = """
from movideo import MoVideoPipeline
MoVideoPipeline.from_pretrained("embedded")
import movideo.cli.generation, movideo.visualization.clips
"""


@pytest.mark.parametrize(
    ("code", "unneeded"),
    [
        (TRAINING, ("movideo.pipeline", "movideo.text_to_image", "movideo.evaluation")),
        (REPORT, ("av", "movideo.pipeline", "open_clip")),
        (FILES, ("av", "movideo.pipeline")),
        (HELP, ("torch", "numpy", "lightning", "diffusers", "av", "cv2")),
        (GENERATE, ("lightning", "torchmetrics", "kornia", "stages", "datamodules")),
    ],
    ids=["training", "report", "files", "help", "generate"],
)
def test_nothing_is_loaded_that_is_not_needed(code, unneeded):
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, sep=chr(10))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.split()
    assert not set(loaded) & set(unneeded)
