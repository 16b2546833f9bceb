"""The table of equations in docs/architecture.md: with its function gone, all that uses it ends."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

from movideo.evaluation.methods import Generation, MethodInput
from movideo.models import FlowAugmentedDecoder
from stages import DepthFlowDiffusion, FlowDecoderGAN, LatentVideoDiffusion
from tests.stages.parts import (
    FRAMES,
    ClipData,
    batch,
    decoder_parts,
    motion_parts,
    tiny_pipeline,
    trainer,
    video_parts,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| `([\w.]+)` \| ([^|]+) \|$", re.MULTILINE)
TABLE = [(int(n), path, set(users.split(", "))) for n, path, users in ROW.findall(PAGE.read_text())]


def pipeline():
    whole = tiny_pipeline()
    whole.decoder = FlowAugmentedDecoder(whole.autoencoder).eval()
    return whole


def train(stage, folder):
    trainer(folder, 1, barebones=False).fit(stage, ClipData())


def generate(folder):
    pipeline()(batch(1)["video"][:, 0], num_frames=FRAMES, num_inference_steps=1)


def fill_a_table(folder):
    method, clips = Generation(num_inference_steps=1), batch(1)
    method.pipeline = pipeline()
    generators = [torch.Generator().manual_seed(0)]
    image, fps, key_index = clips["video"][:, 0], clips["fps"], clips["key_index"]
    method.make(MethodInput(image, fps, key_index, FRAMES, generators))


USERS = {
    "stage 1": lambda folder: train(DepthFlowDiffusion(**motion_parts()), folder),
    "stage 2": lambda folder: train(LatentVideoDiffusion(**video_parts()), folder),
    "stage 3": lambda folder: train(FlowDecoderGAN(**decoder_parts()), folder),
    "pipeline": generate,
    "table": fill_a_table,
}


def raises(*args, **kwargs):
    raise ZeroDivisionError("here stands the equation")


def find(path):
    """The function itself, below decorators; its code is replaced, whoever has imported it."""
    names, parts = path.split("."), []
    while True:
        try:
            found = import_module(".".join(names))
            break
        except ModuleNotFoundError:
            parts.insert(0, names.pop())
    for name in parts:
        found = getattr(found, name)
    return inspect.unwrap(found)


def test_every_equation_has_a_row():
    assert [number for number, *_ in TABLE] == list(range(6, 19))


@pytest.mark.parametrize("user", USERS)
def test_without_a_replacement_all_run(user, tmp_path):
    USERS[user](tmp_path)


@pytest.mark.parametrize("path", dict.fromkeys(path for _, path, _ in TABLE))
def test_all_that_uses_an_equation_ends_in_its_function(path, tmp_path, monkeypatch):
    monkeypatch.setattr(find(path), "__code__", raises.__code__)
    ends = set()
    for user, run in USERS.items():
        try:
            run(tmp_path)
        except ZeroDivisionError:
            ends.add(user)
    (users,) = {frozenset(users) for _, other, users in TABLE if other == path}
    assert ends == users
