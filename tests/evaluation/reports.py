"""A small report, made by hand."""

from dataclasses import replace
from math import nan

from movideo.evaluation.examples import Pictures, Shown
from movideo.evaluation.provenance import Run, Software
from movideo.evaluation.report import Measured, MetricInfo, Report, ReportRow

FIGURES = {
    "PSNR": MetricInfo("dB", "higher", False, {"frames": "all"}),
    "FVD": MetricInfo("", "lower", False, {"extractor": "I3D", "frames": 16}),
    "warp error": MetricInfo("", "lower", True, {"flow": "DIS"}),
}


def measured(value, interval=None, samples=4, warning=None):
    return Measured(float(value), interval and tuple(map(float, interval)), samples, warning)


def row(method="Generation", samples=4, **values):
    """Values by metric; `_` stands for a space."""
    cells = {name.replace("_", " "): measured(v, samples=samples) for name, v in values.items()}
    return ReportRow({"method": method}, cells)


def a_report(**changes):
    few = "FVD: 4 samples of 400 features"
    report = Report(
        table="davis_decoder",
        baseline=None,
        data={"data set": "DAVIS 2017", "split": "val", "size": [64, 64]},
        seed=3,
        metrics=FIGURES,
        rows={
            "ours": ReportRow(
                {"method": "Generation", "num_inference_steps": 50},
                {
                    "PSNR": measured(30.123456789, (29.5, 31.25)),
                    "FVD": measured(1234.5678, warning=few),
                    "warp error": measured(0.002, samples=3),
                },
            ),
            "a|b": ReportRow(
                {"method": "FlowWarping"},
                {
                    "PSNR": measured(28, (27, 29)),
                    "FVD": measured(777.7, warning=few),
                    "warp error": measured(0.003),
                },
            ),
            "frozen": row("FrozenKeyFrame", PSNR=nan, warp_error=0.0),
        },
        not_computed={"LPIPS": "name its weights"},
        pictures=Pictures(
            "PSNR",
            "ours",
            {
                "worst": Shown("bear", 20.5),
                "median": Shown("camel", 30.0),
                "best": Shown("swan", 40.0),
            },
        ),
        software=Software("3.12.1", {"movideo": "1.0", "torch": "2.15.0"}, "0" * 40 + "-dirty"),
        run=Run("node7", "cpu", 1, "2026-01-02T03:04:05+00:00", 12.3456789),
    )
    return replace(report, **changes)


def tables(markdown):
    """The first table: a list of cells a row, the header first, without the ruler."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    rows = [[cell.strip().replace("\\", "") for cell in split_cells(line)] for line in lines]
    assert len({len(cells) for cells in rows}) == 1  # as many cells everywhere
    assert all(set(cell) <= set("-:") for cell in rows[1])
    return [rows[0], *rows[2:]]


def split_cells(line):
    """At bars that are not escaped."""
    return line.strip("| ").replace("\\|", "\0").replace("|", "\n").replace("\0", "|").split("\n")
