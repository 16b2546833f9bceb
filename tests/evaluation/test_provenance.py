"""Where a report's numbers come from."""

import os
import shutil
import subprocess
from datetime import datetime
from importlib.metadata import version

import pytest
import torch

from movideo.evaluation.provenance import Run, Software, code_commit


@pytest.fixture
def checkout(tmp_path):
    """A repository with a package at its top and another below."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    for package in ("package", "environment/package"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").touch()
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "v1", "-m", "first")
    return tmp_path


def git(folder, *arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout.strip()


def test_the_commit_of_a_checkout(checkout, monkeypatch):
    head = git(checkout, "rev-parse", "HEAD")
    assert len(head) == 40
    assert code_commit(checkout / "package") == head
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))  # as in a hook
    assert code_commit(checkout / "package") == head
    (checkout / "package" / "__init__.py").write_text("changed = True")
    assert code_commit(checkout / "package") == f"{head}-dirty"


def test_what_lies_in_a_checkout_of_others_has_none(checkout):
    assert code_commit(checkout / "environment" / "package") is None


def test_outside_of_a_checkout_there_is_none(tmp_path):
    (tmp_path / "package").mkdir()
    assert code_commit(tmp_path / "package") is None


def test_the_software_here():
    found = Software.here()
    for package in ("torch", "lightning", "torchvision", "diffusers", "av", "numpy"):
        assert found.packages[package] == version(package)
    assert found.packages["movideo"]


def test_a_run_that_ends_now():
    run = Run.ending_now(torch.device("cpu"), 2.5, processes=2)
    assert (run.device, run.seconds, run.processes) == ("cpu", 2.5, 2)
    ended = datetime.fromisoformat(run.ended)
    assert abs((datetime.now(ended.tzinfo) - ended).total_seconds()) < 60
