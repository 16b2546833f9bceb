"""Ten thousand clips: little to do at the start, and no memory that grows."""

import gc
import os
import re
from cProfile import Profile
from pathlib import Path

import pytest
import torch

from datamodules import VideoClipDataModule
from datamodules.settings import TrainingSettings
from movideo.clips.clip import Clip
from movideo.clips.key_places import KeyFramePlaces
from movideo.clips.lists.clip_list import ListRow, write_clip_list
from movideo.shards.shard import ClipLabels, write_shard

CLIPS, VIDEOS = 10_000, 500
FRAMES, SIDE = 2, 4
CALLS = 700  # of functions a clip, until the first batch can be asked for
GROWTH = 0.02  # of private memory over three epochs


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data module over a list of clips whose videos cannot be opened, and their labels."""
    for video in range(VIDEOS):
        (tmp_path / f"{video}.mp4").touch()
    clips = [
        Clip(
            str(tmp_path / f"{number % VIDEOS}.mp4"), f"{number % VIDEOS:064x}",
            number // VIDEOS / 8, 10.0, FRAMES, (SIDE, SIDE), 1,
        )
        for number in range(CLIPS)
    ]  # fmt: skip
    write_clip_list(tmp_path / "clips.csv", map(row_of, clips))
    options = {"num_frames": FRAMES, "size": (SIDE, SIDE), "batch_size": 20, "num_workers": 2}
    options["training"] = TrainingSettings(key_frames=KeyFramePlaces(center=1, first=0))
    data = VideoClipDataModule(
        videos=str(tmp_path / "clips.csv"), data_dir=str(tmp_path / "data"), **options
    )
    depth, flow = (torch.zeros(FRAMES, channels, SIDE, SIDE) for channels in (1, 2))
    labels = ClipLabels(depth, flow, flow, torch.ones(FRAMES, 2))
    for first in range(0, CLIPS, 64):
        rows = clips[first : first + 64]
        write_shard(data.label_dir / f"{first}.safetensors", rows, [labels] * len(rows), {})
    pixels = torch.zeros(FRAMES, 3, SIDE, SIDE, dtype=torch.uint8)
    monkeypatch.setattr("datamodules.clip_dataset.read_clip_pixels", lambda *_: pixels)
    return data


def row_of(clip):
    height, width = clip.size
    row = {name: value for name, value in vars(clip).items() if name != "size"}
    return ListRow(**row, height=height, width=width)


def ready(data):
    data.prepare_data()
    data.setup("fit")
    assert sum(map(len, data._datasets.values())) == CLIPS
    return data.train_dataloader()


def test_start_up(data):
    """A bounded number of calls a clip: nothing is done for each pair, nor for each clip anew."""
    with Profile() as profile:
        ready(data)
    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls < CALLS * CLIPS


@pytest.mark.slow
def test_private_memory_does_not_grow(data):
    loader = ready(data)
    private, resident = [], []
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        assert sum(len(batch["name"]) for batch in loader) == CLIPS * 8 // 10
        # A collection looks at every object and so ends sharing it with workers: now, not later.
        gc.collect()
        workers = [worker.pid for worker in loader._iterator._workers]
        private.append(sum(map(private_bytes, (os.getpid(), *workers))))
        resident.append(sum(map(anonymous_bytes, (os.getpid(), *workers))))
    assert private[3] <= private[0] * (1 + GROWTH), private
    # Also counts what is still shared: what a process comes to have for itself adds nothing here.
    assert resident[3] <= resident[0] * 1.001, resident


def private_bytes(process):
    """What a process has for itself alone, but for the mapped shards."""
    total, counts = 0, False
    with open(f"/proc/{process}/smaps") as lines:  # line by line: all at once is megabytes itself
        for line in lines:
            if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                counts = not line.endswith(".safetensors\n")
            elif counts and line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1]) * 1024
    return total


def anonymous_bytes(process):
    """What a process has in memory that is of no file, shared or not."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024
