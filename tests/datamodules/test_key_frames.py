"""Key frames shared by processes: each is taken once, the unreadable ones are told."""

from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from datamodules import KeyFrameDataModule
from movideo.errors import UserError
from movideo.video.read import read_image


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(7):
        Image.effect_noise((20, 16), 10 + index).convert("RGB").save(folder / f"{index}.png")
    (folder / "3.png").write_text("words")
    return folder


def taken(data, rank=0, processes=1):
    """The batches of one process, as Lightning hands them over."""
    data.trainer = SimpleNamespace(global_rank=rank, world_size=processes)
    return [data.on_before_batch_transfer(batch, 0) for batch in data.predict_dataloader()]


def make(**options):
    data = KeyFrameDataModule(**{"num_frames": 3, "size": (8, 8), "batch_size": 2, **options})
    data.setup("predict")
    return data


def test_batches_of_pictures(pictures, caplog):
    data = make(images=str(pictures), fps=6, key_index=0)
    batches = taken(data)
    assert [batch["name"] for batch in batches] == [["0", "1"], ["2"], ["4", "5"], ["6"]]
    for batch in batches:
        count = len(batch["name"])
        for name, image in zip(batch["name"], batch["image"], strict=True):
            assert torch.equal(image, read_image(pictures / f"{name}.png", (8, 8)))
        assert torch.equal(batch["fps"], torch.full((count,), 6.0))
        assert batch["key_index"].tolist() == [0] * count
        assert (batch["num_frames"], batch["size"]) == (3, (8, 8))
    assert f"{pictures / '3.png'}: not an image" in caplog.text
    data.teardown("predict")
    assert "1 of 7 pictures were left out" in caplog.text


def test_a_batch_without_a_readable_picture_is_empty(pictures):
    data = make(images=str(pictures / "3.png"))
    (batch,) = taken(data)
    assert batch["name"] == []
    assert "image" not in batch


def test_batches_of_prompts(tmp_path):
    (tmp_path / "p.txt").write_text("a dog\na cat\na fox\n")
    data = make(prompts=str(tmp_path / "p.txt"))
    batches = taken(data)
    assert [batch["prompt"] for batch in batches] == [["a dog", "a cat"], ["a fox"]]
    assert batches[1]["name"] == ["00003_a-fox"]
    assert data.settings()["00003_a-fox"] == {
        "prompt": "a fox", "num_frames": 3, "size": [8, 8], "fps": 10.0, "key_index": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("parts", "processes"), [(1, 2), (2, 1), (2, 3), (3, 4)])
def test_shares_are_disjoint_and_complete_whatever_is_made_already(tmp_path, parts, processes):
    count = 11
    (tmp_path / "p.txt").write_text("".join(f"prompt {index}\n" for index in range(count)))
    shares, rests = [], []
    for part in range(parts):
        for rank in range(processes):
            data = make(prompts=str(tmp_path / "p.txt"), part=part, parts=parts)
            shares.append([p for batch in taken(data, rank, processes) for p in batch["prompt"]])
            data.leave_out([name for name in data.settings() if "2" in name.split("-")[-1]])
            rests.append([p for batch in taken(data, rank, processes) for p in batch["prompt"]])
    assert sorted(chain.from_iterable(shares)) == sorted(
        f"prompt {index}" for index in range(count)
    )
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    # What is there already moves nothing from one process to another.
    assert rests == [[p for p in share if p != "prompt 2"] for share in shares]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "data.images: None, data.prompts: None; give one of them"),
        ({"images": "a", "prompts": "b"}, "data.images: a, data.prompts: b; give one of them"),
        ({"images": "a", "part": 2, "parts": 2}, "data.part: 2 is out of range"),
        ({"images": "a", "key_index": 3}, "data.key_index: 3 is out of range"),
        ({"images": "a", "fps": 0}, "data.fps: 0 is out of range"),
    ],
)
def test_settings_out_of_range(options, says):
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        make(**options)
