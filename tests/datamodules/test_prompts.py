"""Prompts to measure on: no true clips, and a rate that must be given."""

import pytest

from datamodules import PromptList
from movideo.errors import UserError


def test_batches_of_prompts(tmp_path):
    (tmp_path / "p.txt").write_text("# mine\na red fox\na cat\n")
    data = PromptList(str(tmp_path / "p.txt"), fps=8.0, num_frames=5, size=(16, 24))
    data.setup("test")
    (read,) = data.test_dataloader()
    batch = data.on_after_batch_transfer(read, 0)
    assert batch["name"] == ["00002_a-red-fox", "00003_a-cat"]
    assert batch["prompt"] == ["a red fox", "a cat"]
    assert batch["fps"].tolist() == [8, 8]
    assert batch["key_index"].tolist() == [2, 2]
    assert (batch["num_frames"], batch["size"]) == (5, (16, 24))
    assert "video" not in batch
    assert "reference" not in batch
    protocol = data.protocol()
    assert (protocol["fps"], protocol["samples"], protocol["prompts"]) == ("8", 2, "2 in p.txt")
    assert "true clips" not in protocol


def test_mistakes_are_named(tmp_path):
    data = PromptList(str(tmp_path / "p.txt"))
    with pytest.raises(UserError, match=r"p\.txt: no such file; check the path"):
        data.prepare_data()
