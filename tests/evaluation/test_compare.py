"""Reports side by side, by the command."""

from dataclasses import replace

import pytest

from tests.evaluation.reports import FIGURES, a_report, row, tables


@pytest.fixture
def compare(movideo, tmp_path):
    """Writes reports to folders A, B, ... and has the command compare them."""

    def run(*reports, options=()):
        labels = "ABC"[: len(reports)]
        for label, report in zip(labels, reports, strict=True):
            report.write(tmp_path / label)
        return movideo("compare", *labels, *options)

    return run


def report(**changes):
    rows = {"ours": row(PSNR=30.0, FVD=200.0), "frozen": row("FrozenKeyFrame", PSNR=20.0)}
    metrics = {name: FIGURES[name] for name in ("PSNR", "FVD")}
    return a_report(**({"rows": rows, "metrics": metrics} | changes))


def test_differences_to_the_first(compare):
    other = {"ours": row(PSNR=30.5, FVD=150.0), "warping": row("FlowWarping", PSNR=25.0)}
    done = compare(report(), report(rows=other, seed=4))
    assert done.code == 0, done.err
    assert tables(done.out) == [
        ["method", "report", "videos", "PSNR (dB) ↑", "FVD ↓"],
        ["ours", "A", "4", "30", "200"],
        ["ours", "B", "4", "30.5 (+0.5)", "150 (-50)"],
        ["frozen", "A", "4", "20", "–"],
        ["warping", "B", "4", "25", "–"],
    ]
    assert "- A: seed 3, movideo 1.0, torch 2.15.0, commit 000000000000\n" in done.out
    assert "- B: seed 4" in done.out


def test_three_and_a_column_that_only_one_has(compare):
    more = report(metrics=FIGURES, rows={"ours": row(PSNR=31.0, FVD=200.0, warp_error=0.25)})
    fewer = report(metrics={"PSNR": FIGURES["PSNR"]}, rows={"ours": row(PSNR=29.0)})
    done = compare(report(), more, fewer)
    assert tables(done.out) == [
        ["method", "report", "videos", "PSNR (dB) ↑", "FVD ↓", "warp error ↓ †"],
        ["ours", "A", "4", "30", "200", "–"],
        ["ours", "B", "4", "31 (+1)", "200 (+0)", "0.25"],
        ["ours", "C", "4", "29 (-1)", "–", "–"],
        ["frozen", "A", "4", "20", "–", "–"],
    ]
    assert "† A clip that never moves wins." in done.out


OTHER = {
    "data": (
        {"data": report().data | {"split": "train"}},
        "B: data: split is train, in A val",
    ),
    "less data": (
        {"data": {"data set": "DAVIS 2017", "size": [64, 64]}},
        "B: data: split is not given, in A val",
    ),
    "fewer videos": (
        {"rows": {"ours": row(samples=3, PSNR=30.0, FVD=200.0)}},
        "B: data: videos is 3, in A 4",
    ),
    "metric": (
        {
            "metrics": {
                "PSNR": FIGURES["PSNR"],
                "FVD": replace(FIGURES["FVD"], protocol={"extractor": "I3D", "frames": 10}),
            }
        },
        "B: FVD: frames is 10, in A 16",
    ),
}


@pytest.mark.parametrize(("changes", "message"), OTHER.values(), ids=OTHER)
def test_other_protocols_are_refused(compare, changes, message):
    refused = compare(report(), report(**changes))
    assert refused.error == (
        f"{message}; give --any_protocol true to put them side by side all the same"
    )
    assert refused.out == ""
    done = compare(report(), report(**changes), options=("--any_protocol", "true"))
    assert done.code == 0, done.err
    assert len(tables(done.out)) >= 4
    assert f"Not the same protocol:\n\n- {message}\n" in done.out


def test_others_among_themselves_have_to_agree_too(compare):
    """The first lacks the metric in which the second and the third differ."""
    first = report(metrics={"PSNR": FIGURES["PSNR"]}, rows={"ours": row(PSNR=30.0)})
    third = report(metrics=OTHER["metric"][0]["metrics"])
    assert compare(first, report(), third).error.startswith("C: FVD: frames is 10, in B 16;")


def test_seeds_software_and_settings_may_differ(compare):
    other = report(
        seed=9,
        rows={"ours": replace(row(PSNR=30.0), settings={"method": "Generation", "steps": 5})},
        software=replace(report().software, packages={}, commit=None),
    )
    done = compare(report(), other)
    assert done.code == 0, done.err
    assert done.out.endswith("- B: seed 9, movideo ?, torch ?\n")


def test_the_table_in_a_file(compare, tmp_path):
    done = compare(report(), report(), options=("--out", "new/table.md"))
    assert (tmp_path / "new" / "table.md").read_text() == done.out
    assert len(tables(done.out)) == 5


def test_files_and_folders_serve(compare, movideo):
    compare(report(), report())
    done = movideo("compare", "A", "B/report.json")
    assert [cells[1] for cells in tables(done.out)[1:3]] == ["A", "B/report.json"]


def test_what_is_missing_or_broken(compare, movideo, tmp_path):
    compare(report(), report())
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    assert movideo("compare", "A", "none").error.startswith("none: no such report; name a")
    assert movideo("compare", "A", "empty").error.startswith("empty/report.json: no such report")
    assert movideo("compare", "A", "broken.json").error.startswith("broken.json: no report of")
    assert movideo("compare", "A").error == "A: one report; give two or more to compare"
    assert "reports" in movideo("compare").error
    assert "any_protocl" in movideo("compare", "A", "B", "--any_protocl", "true").error
