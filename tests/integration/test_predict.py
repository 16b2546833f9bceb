"""`movideo predict` over pictures and prompts: made once, gone on with, shared by processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from movideo.diffusion import sample_generator
from movideo.hub import EMBEDDED
from movideo.pipeline import MoVideoPipeline
from movideo.text_to_image import TextToImage
from movideo.video.read import probe, read_frames
from movideo.video.write import write_mp4
from tests.tiny_text_to_image import write_text_to_image

ROOT = Path(__file__).resolve().parents[2]
FEW = (
    "--config=predict.yaml", "--model.num_inference_steps=1", "--data.num_frames=3",
    "--data.size=[32,32]", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false",
)  # fmt: skip


def made(tmp_path):
    return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "predictions").glob("*.mp4")}


def draw(folder, count):
    folder.mkdir()
    for index in range(count):
        Image.effect_noise((40, 36), 50 + index).convert("RGB").save(folder / f"{index}.png")


def test_pictures(movideo, tmp_path, caplog):
    draw(tmp_path / "pics", 3)
    (tmp_path / "pics" / "1.png").write_text("words")
    run = ("predict", *FEW, "--data.images=pics", "--data.batch_size=2")
    done = movideo(*run)
    assert done.code == 0, done.err
    assert "pics/1.png: not an image" in caplog.text
    assert "1 of 3 pictures were left out" in caplog.text
    first = made(tmp_path)
    assert sorted(first) == ["0.mp4", "2.mp4"]
    info = probe(tmp_path / "predictions" / "0.mp4")
    assert (len(info.times), info.fps, info.height, info.width) == (3, 10, 32, 32)
    (row, *_) = map(json.loads, (tmp_path / "predictions/predictions.jsonl").open())
    wanted = {"file": "0.mp4", "image": "pics/0.png", "seed": 0, "model": "embedded"}
    assert wanted.items() <= row.items()

    whole = (tmp_path / "predictions" / "2.mp4").read_bytes()
    (tmp_path / "predictions" / "2.mp4").unlink()
    done = movideo(*run)
    assert done.code == 0, done.err
    assert "predictions: 1 of 3 videos are there" in caplog.text
    again = made(tmp_path)
    assert again["0.mp4"] == first["0.mp4"]
    assert again["2.mp4"] > first["2.mp4"]
    assert (tmp_path / "predictions" / "2.mp4").read_bytes() == whole

    error = movideo(*run, "--model.seed=1").error
    assert error.startswith("predictions/0.mp4: made with seed 0, not 1; ")


def test_prompts(movideo, tmp_path):
    folder = write_text_to_image(tmp_path / "sd")
    (tmp_path / "prompts.txt").write_text("a dog\na cat\na dog\n")
    run = ("predict", *FEW, "--data.prompts=prompts.txt", "--data.batch_size=1")
    assert "model.text_to_image: null" in movideo(*run).error
    drawing = "--model.text_to_image=movideo.text_to_image.TextToImage"
    more = (f"--model.text_to_image.pretrained={folder}", "--model.text_to_image.num_infer=1")
    assert "num_infer" in movideo(*run, drawing, *more).error
    done = movideo(*run, drawing, more[0], "--model.text_to_image.num_inference_steps=1")
    assert done.code == 0, done.err
    names = ["00001_a-dog", "00002_a-cat", "00003_a-dog"]
    assert sorted(made(tmp_path)) == [f"{name}.mp4" for name in names]
    rows = list(map(json.loads, (tmp_path / "predictions/predictions.jsonl").open()))
    assert [row["prompt"] for row in rows] == ["a dog", "a cat", "a dog"]
    assert rows[0]["text_to_image"]["pretrained"] == str(folder)
    # The same by hand: noise follows the seed and the name.
    generators = [sample_generator(0, names[1])]
    key = TextToImage(str(folder), num_inference_steps=1)(["a cat"], (32, 32), generators)
    result = MoVideoPipeline.from_pretrained(EMBEDDED).generate(
        key, num_frames=3, num_inference_steps=1, generator=generators
    )
    write_mp4(tmp_path / "own.mp4", result.video[0], 10)
    theirs = (tmp_path / "predictions" / f"{names[1]}.mp4").read_bytes()
    assert theirs == (tmp_path / "own.mp4").read_bytes()
    times = [0.0, 0.1, 0.2]
    dogs = [read_frames(tmp_path / "predictions" / f"{names[i]}.mp4", times) for i in (0, 2)]
    assert (dogs[0] - dogs[1]).abs().max() > 0.1  # noise of their own


def test_a_video_of_one_prompt(movideo, tmp_path):
    folder = write_text_to_image(tmp_path / "sd")
    run = ("generate", f"--text_to_image={folder}", "--steps=1", "--num_frames=3", "--size=[32,32]")
    for out, *more in (
        ("a", "--prompt=a dog"),
        ("b", "--prompt=a dog"),
        ("c", "--prompt=xyz"),
        ("d", "--prompt=a dog", "--seed=1"),
    ):
        done = movideo(*run, f"--out={out}.mp4", *more, "--device=cpu")
        assert done.code == 0, done.err
    read = [(tmp_path / f"{name}.mp4").read_bytes() for name in "abcd"]
    assert read[0] == read[1]
    assert len(set(read)) == 3


def test_clips_of_videos(movideo, tmp_path):
    """What is predicted where no config chooses other data."""
    options = [f"--data.{part}num_frames=3" for part in ("", "scenes.", "test_scenes.")]
    options += [f"--data.{part}size=[32,32]" for part in ("", "scenes.", "test_scenes.")]
    done = movideo(
        "predict", "--config=generation.yaml", "--model.model=embedded", *FEW[1:2], *options,
        "--data.scenes.count=2", "--data.test_scenes.count=2", "--data.num_workers=0",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(made(tmp_path)) == 2
    assert "did you mean" in movideo("predict", "--config=generation.yaml", "--data.vidoes=x").error


@pytest.mark.slow
def test_two_processes_share_the_list(tmp_path):
    draw(tmp_path / "pics", 5)
    command = [sys.executable, "-m", "movideo", "predict", *FEW, "--data.images=pics"]
    two = ("--trainer.devices=2", "--trainer.strategy=ddp")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(*options):
        subprocess.run([*command, *options], cwd=tmp_path, env=environment, check=True, timeout=280)

    run(*two)
    first = made(tmp_path)
    assert sorted(first) == [f"{index}.mp4" for index in range(5)]
    (tmp_path / "predictions" / "3.mp4").unlink()  # the second's: the first has nothing to do
    run(*two)
    again = made(tmp_path)
    assert {name for name in first if again[name] != first[name]} == {"3.mp4"}
