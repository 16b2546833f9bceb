"""Reports as files, and as a page."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from movideo.errors import UserError
from movideo.evaluation.page import page, write_page
from movideo.evaluation.provenance import Run
from movideo.evaluation.report import Measured, MetricInfo, read_report
from movideo.metrics import VideoMetric
from movideo.metrics.bootstrap import Difference
from tests.evaluation.reports import FIGURES, a_report, measured, row, tables
from tests.metrics.parts import judged, random_clips


def rewritten(path, change):
    """The file after a change to what it holds."""
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    return path


def test_what_is_written_is_read(tmp_path):
    report = a_report()
    path = report.write(tmp_path / "new")
    assert path == tmp_path / "new" / "report.json"
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]
    for place in (path, path.parent):
        found = read_report(place)
        assert found.rows["ours"].metrics["PSNR"] == measured(30.1235, (29.5, 31.25))  # 6 digits
        assert found.rows["ours"].metrics["FVD"].value == 1234.57
        assert math.isnan(found.rows["frozen"].metrics["PSNR"].value)
        assert found.metrics == report.metrics
        assert found.pictures == report.pictures
        assert found.software == report.software
        assert found.run == replace(report.run, seconds=12.3457)
        assert found.to_json() == report.to_json()


def test_numbers_that_json_lacks(tmp_path):
    rows = {"m": row(PSNR=math.inf), "n": row(PSNR=math.nan), "o": row(PSNR=-math.inf)}
    path = a_report(rows=rows).write(tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads(path.read_text(), parse_constant=refuse)["rows"]
    assert [r["metrics"]["PSNR"]["value"] for r in found.values()] == ["inf", None, "-inf"]
    values = [r.metrics["PSNR"].value for r in read_report(path).rows.values()]
    assert values[0] == -values[2] == math.inf
    assert math.isnan(values[1])


def test_time_and_place_are_apart():
    here, there = a_report(), a_report(run=Run("other", "cuda", 8, "2027", 1.0))
    assert here.to_json() != there.to_json()
    assert here.content() == there.content()
    assert here.content() != a_report(seed=4).content()


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("seed"),
        lambda found: found.update(extra=1),
        lambda found: found.update(rows=[]),
        lambda found: found.update(format=0),
        lambda found: found.pop("format"),
        lambda found: found["metrics"]["PSNR"].update(better="bigger"),
        lambda found: found["rows"]["ours"]["metrics"]["PSNR"].update(value="30.1"),
        lambda found: found["rows"]["ours"]["metrics"]["PSNR"].update(interval=[1]),
        lambda found: found["rows"]["ours"]["metrics"]["PSNR"].update(samples=1.5),
        lambda found: found["software"].pop("commit"),
        lambda found: found["pictures"].update(shown=None),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, change):
    path = rewritten(a_report().write(tmp_path), change)
    with pytest.raises(UserError, match=r"report\.json: no report of movideo test"):
        read_report(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"\xff\xfe", b"[" * 100_000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.json: no report of movideo test"):
        read_report(path)


def test_newer_formats_are_named(tmp_path):
    path = rewritten(a_report().write(tmp_path), lambda found: found.update(format=4, rows=None))
    with pytest.raises(UserError, match="format 4, and this movideo reads 3; update movideo"):
        read_report(path)


def test_a_report_that_compares_no_rows_is_read(tmp_path):
    def as_before(found):
        found.update(format=2)
        del found["baseline"]
        for cells in (old["metrics"] for old in found["rows"].values()):
            for cell in cells.values():
                del cell["difference"]

    found = read_report(rewritten(a_report().write(tmp_path), as_before))
    assert found.content() == read_report(a_report().write(tmp_path / "new")).content()


def compared(**changes):
    """A report whose first row stands 2 dB above its second, sure of it, and its third unsure."""
    rows = {
        "ours": row(PSNR=30, FVD=9),
        "base": row(PSNR=28, FVD=8),
        "one video": row(PSNR=27, samples=1),
    }
    cells = {"ours": Difference(2.0, (1.5, 2.5), 4), "one video": Difference(-1.0, None, 1)}
    for title, difference in cells.items():
        psnr = rows[title].metrics["PSNR"]
        rows[title].metrics["PSNR"] = replace(psnr, difference=difference)
    return a_report(rows=rows, baseline="base", table=None, **changes)


def test_differences_are_written_and_read(tmp_path):
    found = read_report(compared().write(tmp_path))
    assert found.baseline == "base"
    assert found.rows["ours"].metrics["PSNR"].difference == Difference(2.0, (1.5, 2.5), 4)
    assert found.rows["base"].metrics["PSNR"].difference is None


def test_the_page_has_what_rows_differ_from_the_baseline():
    written = page(compared())
    _, beside = written.split("## Beside base")
    header, *rows = tables(beside.split("##")[0])
    assert header == ["method", "PSNR (dB) ↑"]  # FVD has a row for each set, none for each video
    assert rows == [["ours", "**+2** [+1.5, +2.5]"], ["one video", "-1"]]
    assert "## Beside" not in page(a_report())


def test_a_report_of_0_1_0_is_read():
    """Its file calls metrics figures."""
    path = Path(__file__).parents[1] / "saved_by_0_1_0" / "report.json"
    report, written = read_report(path), json.loads(path.read_text())
    assert list(report.metrics) == list(written["figures"])
    for title, old in written["rows"].items():
        found = {name: cell.samples for name, cell in report.rows[title].metrics.items()}
        assert found == {name: cell["samples"] for name, cell in old["figures"].items()}
    assert (
        report.rows["frozen key frame"].metrics["PSNR"].value
        == (written["rows"]["frozen key frame"]["figures"]["PSNR"]["value"])
    )


def test_the_table_of_the_page():
    header, *rows = tables(page(a_report()))
    assert header == ["method", "videos", "PSNR (dB) ↑", "FVD ↓", "warp error ↓ †"]
    assert rows[:3] == [
        ["ours", "4", "**30.12** [29.5, 31.25]", "1235", "**0.002** (3 videos)"],
        ["a|b", "4", "28 [27, 29]", "**777.7**", "0.003"],
        ["frozen", "4", "–", "–", "0"],  # the best warp error, and not bold
    ]
    source = "Liang et al. 2023*"
    assert rows[3:] == [  # of the paper's columns those that are here, as it prints them
        [f"*2-D, {source}", "–", "*30.11*", "*401.66*", "–"],
        [f"*3-D, {source}", "–", "*29.99*", "*379.73*", "–"],
        [f"*flow-augmented, {source}", "–", "*29.88*", "*335.53*", "–"],
    ]


def test_what_prints_alike_is_equally_good():
    rows = {"one": row(PSNR=30.12349), "two": row(PSNR=30.12341), "three": row(PSNR=30.1)}
    cells = [cells[2] for cells in tables(page(a_report(rows=rows, table=None)))[1:]]
    assert cells == ["**30.12**", "**30.12**", "30.1"]


def test_a_metric_without_a_direction_has_no_best():
    metrics = {"PSNR": replace(FIGURES["PSNR"], better=None)}
    _, cells = tables(page(a_report(rows={"m": row(PSNR=3)}, metrics=metrics, table=None)))
    assert cells == ["m", "4", "3"]


def test_the_page_says_the_rest():
    written = page(a_report())
    assert written.startswith("# Decoders of the same latents, on DAVIS\n")
    assert "† A clip that never moves wins warp error: the frozen key frame is a row" in written
    assert written.count("FVD: 4 samples of 400 features (ours, a\\|b)") == 1
    assert "Table 5" in written
    assert "- LPIPS: name its weights" in written
    assert "- split: val" in written
    assert "- extractor: I3D" in written
    assert "- seed: 3" in written
    assert "worst: bear, PSNR of ours 20.5\n\n![worst](pictures/worst.png)" in written
    assert f"commit {'0' * 40}-dirty" in written
    assert "node7, cpu, 1 process; 12.35 s" in written


def test_without_a_frozen_row_the_page_warns():
    written = page(a_report(rows={"m": row(warp_error=0.1)}))
    assert "no frozen key frame stands beside" in written


def test_stand_ins_share_no_column_with_the_paper():
    metrics = {"embedded video distance": replace(FIGURES["FVD"])}
    rows = {"m": row(embedded_video_distance=1.5)}
    written = page(a_report(metrics=metrics, rows=rows))
    assert len(tables(written)) == 2  # the header and the method
    assert "The paper's table has other columns (PSNR, LPIPS, FID, FVD)" in written


def test_tables_that_are_not_known_say_so():
    written = page(a_report(table="davis_i2v"))
    assert len(tables(written)) == 4
    assert "Table 4" in written
    assert "its numbers are not known here" in written


def test_text_of_others_stays_text():
    rows = {"<b>\n| x [a](b)\x1b[31m": row(PSNR=1)}
    (_, cells) = tables(page(a_report(rows=rows, table=None)))
    assert cells[0] == "<b> | x [a](b) [31m"
    written = page(a_report(rows=rows, table=None))
    assert "\x1b" not in written
    assert "\\<b> \\| x \\[a\\](b)" in written


def test_the_page_is_written(tmp_path):
    path = write_page(a_report(), tmp_path)
    assert path.read_text() == page(a_report())


class FirstPixel(VideoMetric):
    """Or NaN where it is negative; refuses a single video."""

    name = "first pixel"
    unit = "px"
    higher_is_better = True
    frozen_clip_wins = True

    def measure(self, clips):
        pixel = clips.video[:, 0, 0, 0, 0]
        return torch.where(pixel < 0, torch.nan, pixel)

    def summary(self, rows):
        if rows.isfinite().sum() == 1:
            raise UserError("first pixel: 1 video; give 2")
        return super().summary(rows)

    def warning(self, count):
        return f"first pixel: {count} are few"


def test_cells_of_metrics():
    metric = FirstPixel()
    video = random_clips(4)
    video[:, 0, 0, 0, 0] = torch.tensor([0.25, 0.75, -1, -1])
    assert math.isnan(Measured.of(metric).value)
    metric.update(judged(video[2:], names=["c", "d"]))
    assert Measured.of(metric).samples == 0
    metric.update(judged(video[:1], names=["a"]))
    cell = Measured.of(metric)
    assert math.isnan(cell.value)
    assert (cell.interval, cell.samples, cell.warning) == (None, 1, "first pixel: 1 video; give 2")


def test_cells_of_metrics_with_enough_videos():
    """Two values: at 95% a resampled pair may be either of them twice."""
    metric = FirstPixel()
    video = random_clips(3)
    video[:, 0, 0, 0, 0] = torch.tensor([0.25, 0.75, -1])
    metric.summary = lambda rows: rows.nanmean()
    metric.update(judged(video))
    assert Measured.of(metric) == Measured(0.5, (0.25, 0.75), 2, "first pixel: 2 are few")


@pytest.mark.parametrize(("higher", "better"), [(True, "higher"), (False, "lower"), (None, None)])
def test_columns_of_metrics(higher, better):
    kind = type("Kind", (FirstPixel,), {"higher_is_better": higher})
    info = MetricInfo.of(kind())
    assert info == MetricInfo("px", better, True, {"interval": FirstPixel.interval_method})
