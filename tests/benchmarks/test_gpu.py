import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import training
from benchmarks.gpu.cases import cases
from benchmarks.gpu.scale import PAPER, TINY


@pytest.mark.slow
def test_every_case_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([str(tmp_path), "--tiny", "--minutes", "20"])
    results = json.loads((tmp_path / "gpu.json").read_text())["results"]
    for case, variants in cases(TINY, tmp_path).items():
        assert list(results[case]) == list(variants)
        for variant, figures in results[case].items():
            assert "failed" not in figures, (case, variant, figures)
            numbers = [value for value in figures.values() if isinstance(value, float)]
            assert min(numbers, default=0) > 0, (case, variant, figures)
    plain = results["stage1"]["plain"]
    assert plain["clips a second"] == pytest.approx(plain["clips a step"] / plain["step, s"])
    assert len(results["precision"]["bf16-mixed"]["losses"]) == TINY.loss_steps
    text = (tmp_path / "gpu.md").read_text()
    assert "## stage3" in text
    assert "Means of 2 losses differ by at most" in text
    assert "left" not in capsys.readouterr().out


def test_it_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def make(name: str, fails: bool = False):
        def run() -> dict[str, float]:
            ran.append(name)
            if fails:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch")
            return {"step, s": 2.0}

        return run

    variants = {"one": make("one", fails=True), "two": make("two")}
    monkeypatch.setattr(command, "cases", lambda *_: {"stage1": variants, "peers": variants})
    command.main([str(tmp_path), "--minutes", "0"])
    assert "4 left, from stage1, one on" in capsys.readouterr().out
    command.main([str(tmp_path), "--case", "peers"])
    assert ran == ["one", "two"]
    command.main([str(tmp_path)])
    assert ran == ["one", "two"] * 2
    results = json.loads((tmp_path / "gpu.json").read_text())["results"]
    assert results["peers"] == {
        "one": {"failed": "CUDA out of memory. Tried to allocate"},
        "two": {"step, s": 2.0},
    }


def test_the_share_of_the_peak_is_that_of_operations_done_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "peak_teraflops", lambda: 100.0)
    text = command.report(
        {"stage1": {"operations": {"TFLOP a clip": 20.0}, "plain": {"clips a second": 2.0}}}
    )
    assert "| plain | 2 | 40 | 40% |" in text


@pytest.mark.parametrize(("stage", "millions"), [("stage1", 274), ("stage2", 1095)])
def test_the_paper_s_networks_are_built_on_the_device(
    stage: str, millions: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the meta device, where what is measured on a GPU takes no memory."""
    monkeypatch.setattr(training, "device", lambda: torch.device("meta"))
    built = training.build_stage(
        PAPER.configs[stage], ["--model.unet.gradient_checkpointing=false"]
    )
    parameters = list(built.unet.parameters())
    assert {p.device.type for p in parameters} == {"meta"}
    assert sum(p.numel() for p in parameters) == pytest.approx(millions * 1e6, rel=0.01)
    assert not built.unet.gradient_checkpointing


def test_a_case_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([str(tmp_path), "--case", "stage9"])
    assert ended.value.code == 2
    assert "stage9: no case; there are stage1, stage2" in capsys.readouterr().err
