"""Labels are found among many, read without a copy, and opened by each process for itself."""

import pickle
from pathlib import Path

import pytest
import torch

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.shards import store as label_store
from movideo.shards.shard import ClipLabels, write_shard
from movideo.shards.store import LabelStore


def make_clip(index):
    return Clip(f"{index}.mp4", f"{index:064x}", 0.0, 7.5, 1, (2, 2), 0)


def make_labels(value):
    depth, flow = torch.full((1, 1, 2, 2), float(value)), torch.full((1, 2, 2, 2), -float(value))
    return ClipLabels(depth, flow, flow + 1, torch.tensor([[1.0, 0.1]]))


def write(folder, name, indices, offset=0):
    clips = [make_clip(index) for index in indices]
    labels = [make_labels(index + offset) for index in indices]
    write_shard(folder / f"{name}.safetensors", clips, labels, {})


def test_each_of_many_is_found(tmp_path):
    for first in range(0, 2000, 100):
        write(tmp_path, first, range(first, first + 100))
    keys = [make_clip(index).key for index in range(2000)]
    # Some end and some begin with zeros, which are easily lost on the way.
    assert any(key.endswith("00") for key in keys)
    assert any(key.startswith("00") for key in keys)
    store = LabelStore(tmp_path)
    assert len(store) == 2000
    for index in range(0, 2000, 7):
        assert store.stored(make_clip(index)).depth.eq(index).all()
    for index in range(1999, 0, -13):
        labels = store.get(make_clip(index))
        assert labels.flow_v2i.eq(1 - index).all()
    for index in range(2000, 3000):
        assert make_clip(index) not in store


def test_stored_types_are_views_of_the_file(tmp_path):
    write(tmp_path, "a", range(3))
    store = LabelStore(tmp_path)
    labels = store.stored(make_clip(1))
    assert [labels.depth.dtype, labels.flow_i2v.dtype] == [torch.float16] * 2
    assert labels.depth_alignment.dtype == torch.float32
    maps = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(f"{tmp_path}/a.safetensors")
    ]
    for tensor in vars(labels).values():
        assert any(start <= tensor.data_ptr() < end for start, end in maps)
    assert store.get(make_clip(1)).depth.dtype == torch.float32


def test_of_the_same_clip_the_first_shard_counts(tmp_path):
    write(tmp_path / "one", "b", range(2), offset=10)
    write(tmp_path / "one", "a", range(1, 3), offset=20)
    write(tmp_path / "two", "a", range(4), offset=30)
    store = LabelStore(tmp_path / "one", tmp_path / "two")
    assert [float(store.get(make_clip(i)).depth.max()) for i in range(4)] == [10, 21, 22, 33]


def test_mapped_shards_are_not_pickled(tmp_path):
    write(tmp_path, "a", range(50))
    store = LabelStore(tmp_path)
    before = pickle.dumps(store)
    store.get(make_clip(3))
    assert pickle.dumps(store) == before
    elsewhere = pickle.loads(before)
    assert elsewhere.get(make_clip(7)).depth.eq(7).all()


def test_few_shards_are_mapped_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(label_store, "OPEN_SHARDS", 3)
    for index in range(10):
        write(tmp_path, index, [index])
    store = LabelStore(tmp_path)
    kept = store.stored(make_clip(0)).depth
    assert [float(store.get(make_clip(i)).depth.max()) for i in (*range(10), 0)] == [*range(10), 0]
    maps = Path("/proc/self/maps").read_text()
    # The three, and the one that is still looked at.
    assert sum(f"{tmp_path}/{index}.safetensors" in maps for index in range(10)) <= 4
    assert kept.eq(0).all()


def test_a_shard_that_goes_bad_is_named(tmp_path):
    write(tmp_path, "a", range(2))
    store = LabelStore(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"words")
    with pytest.raises(UserError, match=r"a\.safetensors: not a readable shard"):
        store.get(make_clip(0))
