import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import table
from benchmarks.table import Row, ratio


def test_a_ratio_is_taken_round_by_round() -> None:
    row = ratio("forward", [2.0, 9.0, 4.0], [1.0, 3.0, 4.0], limit=1.5)
    assert row.values == (2.0, 3.0, 1.0)
    assert row.cells() == ["forward", "2", "1", "3", "1.5", "missed"]


def test_what_was_saved_is_read_and_other_cases_stay(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.json"
    rows = [Row("forward", (1.0, 1.2), limit=2.0), Row("clips", (5.0,), "clips a second")]
    table.save({"unet": rows}, path, "a machine")
    table.save({"decoder": [Row("forward", (3.0,))]}, path, "a machine")
    assert table.read(path) == {"decoder": [Row("forward", (3.0,))], "unet": rows}
    text = path.with_suffix(".md").read_text()
    assert "| unet | forward | 1.1 | 1 | 1.2 | 2 | met |" in text
    assert "| unet | clips, clips a second | 5 | 5 | 5 |  |  |" in text
    assert json.loads(path.read_text())["machine"] == "a machine"


def test_only_ratios_that_grew_by_more_than_a_tenth_are_worse() -> None:
    before = {"unet": [Row("a", (1.0,)), Row("b", (1.0,)), Row("speed", (1.0,), "s")]}
    now = {
        "unet": [Row("a", (1.09,)), Row("b", (1.0, 1.2, 1.3)), Row("speed", (9.0,), "s")],
        "other": [Row("a", (5.0,))],
    }
    assert list(table.worse(now, before)) == ["unet, b: 1.2 (1 to 1.3), 20% above the baseline's 1"]


def test_the_command_ends_with_1_where_a_ratio_is_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, out = tmp_path / "baseline.json", tmp_path / "table.json"
    table.save({"operations": [Row("warp", (2.0,))]}, baseline, "")
    monkeypatch.setattr(command, "ProcessPoolExecutor", _Here)
    for value, status in ((2.1, 0), (2.3, 1)):
        monkeypatch.setattr(
            command.table, "measure", lambda *_, value=value: [Row("warp", (value,))]
        )
        with pytest.raises(SystemExit) as ended:
            command.main(["operations", "--out", str(out), "--baseline", str(baseline)])
        assert ended.value.code == status
    assert "15% above the baseline's 2" in capsys.readouterr().out


def test_a_case_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["nonsense"])
    assert ended.value.code == 2
    assert "nonsense: no case; there are start_up, unet" in capsys.readouterr().err


class _Here:
    """Runs in this process what would have run in another."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> "_Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, call, *arguments):
        self.value = call(*arguments)
        return self

    def result(self):
        return self.value
