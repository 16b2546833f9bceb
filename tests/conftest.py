"""What all tests share: one thread, and the command in this process."""

import logging
import re
import sys
from dataclasses import dataclass

import pytest
import torch

from movideo.cli import main


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests are many small operations; on a busy machine threads only wait for one another."""
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a mistake is told in."""
        assert self.code == 2, self.err
        assert "Traceback" not in self.err
        lines = re.findall(r"^movideo: .*$", self.err, flags=re.MULTILINE)
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0])
        return lines[0].removeprefix("movideo: ")


@pytest.fixture
def movideo(monkeypatch, tmp_path, capfd):
    """Runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["movideo"])
    # Lightning keeps the stream of its first import, which pytest has closed by the next test.
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(*arguments) -> Result:
        capfd.readouterr()
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = exit_.code or 0
        else:
            code = 0
        return Result(code, *capfd.readouterr())

    return run
