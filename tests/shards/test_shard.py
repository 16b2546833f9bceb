"""Label shards: what goes in comes out, whole or not at all, one clip at a time."""

import hashlib
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from movideo.clips.clip import Clip
from movideo.errors import UserError
from movideo.shards import shard as shards
from movideo.shards.shard import (
    METADATA_KEY,
    ClipLabels,
    DamagedShard,
    identity_alignment,
    read_header,
    verify_shard,
    write_shard,
)
from movideo.shards.store import LabelStore

ESTIMATORS = {"depth": {"class_path": "a.Depth"}, "flow": {"class_path": "a.Flow"}, "grid": None}


def make_clip(index):
    return Clip(f"{index}.mp4", f"{index:064x}", 0.5 * index, 7.5, 3, (8, 12), 1)


def make_labels(seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"depth": 1, "flow_i2v": 2, "flow_v2i": 2}
    fields = {
        name: torch.randn(3, channels, 8, 12, generator=generator) * 5
        for name, channels in sizes.items()
    }
    return ClipLabels(**fields, depth_alignment=torch.rand(3, 2, generator=generator) + 0.5)


@pytest.fixture
def shard(tmp_path):
    clips = [make_clip(index) for index in range(4)]
    labels = [make_labels(index) for index in range(4)]
    write_shard(tmp_path / "a.safetensors", clips, labels, ESTIMATORS, {"k": "v.mp4: broken"})
    return tmp_path, clips, labels


def test_round_trip(shard):
    folder, clips, labels = shard
    store = LabelStore(folder)
    assert len(store) == 4
    for index in (2, 0, 3, 1):
        read = store.get(clips[index])
        for name in ("depth", "flow_i2v", "flow_v2i"):
            result, truth = getattr(read, name), getattr(labels[index], name)
            assert result.dtype == torch.float32
            # Float16 has 11 significant bits: rounding errs by at most half of 2^-10 of the value.
            assert torch.allclose(result, truth, rtol=2**-11, atol=1e-6)
        assert torch.equal(read.depth_alignment, labels[index].depth_alignment)
    assert make_clip(9) not in store


def test_header_names_everything(shard):
    folder, clips, _ = shard
    header = read_header(folder / "a.safetensors")
    assert header["version"] == 2
    assert header["estimators"] == ESTIMATORS
    assert header["grid"] == [8, 12]
    assert [row.pop("key") for row in header["rows"]] == [clip.key for clip in clips]
    assert [Clip.from_dict(row) for row in header["rows"]] == clips
    assert LabelStore(folder).failed == {"k": "v.mp4: broken"}


def test_tensors_are_float16(shard):
    with safe_open(shard[0] / "a.safetensors", framework="pt") as file:
        assert file.get_slice("depth").get_dtype() == "F16"
        assert file.get_slice("flow_i2v").get_shape() == [4, 3, 2, 8, 12]


def test_aligned_depth_by_hand():
    labels = make_labels(0)
    alignment = torch.tensor([[2.0, 1.0], [1.0, 0.0], [0.5, -3.0]])
    aligned = ClipLabels(labels.depth, labels.flow_i2v, labels.flow_v2i, alignment).aligned_depth
    assert torch.equal(aligned[0], labels.depth[0] * 2 + 1)
    assert torch.equal(aligned[1], labels.depth[1])
    assert torch.equal(aligned[2], labels.depth[2] * 0.5 - 3)
    identity = ClipLabels(labels.depth, labels.flow_i2v, labels.flow_v2i, identity_alignment(3))
    assert torch.equal(identity.aligned_depth, labels.depth)


def test_missing_folder_is_empty(tmp_path):
    assert len(LabelStore(tmp_path / "none")) == 0


def test_channels_last_labels_are_written(tmp_path):
    labels = make_labels(3)
    flow = labels.flow_i2v.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    permuted = ClipLabels(labels.depth, flow, labels.flow_v2i, labels.depth_alignment)
    write_shard(tmp_path / "a.safetensors", [make_clip(0)], [permuted], ESTIMATORS)
    read = LabelStore(tmp_path).get(make_clip(0))
    assert torch.equal(read.flow_i2v, labels.flow_i2v.half().float())


def test_clip_without_labels_is_named(shard):
    with pytest.raises(UserError, match=r"9\.mp4: no labels .*run `movideo precompute`"):
        LabelStore(shard[0]).get(make_clip(9))


def test_first_folder_wins(shard, tmp_path):
    folder, clips, labels = shard
    write_shard(tmp_path / "other" / "b.safetensors", clips[:1], [make_labels(7)], ESTIMATORS)
    store = LabelStore(folder, tmp_path / "other")
    assert torch.allclose(store.get(clips[0]).depth, labels[0].depth, rtol=2**-11, atol=1e-6)


def test_labels_of_other_estimators_can_be_left_out(shard):
    folder, clips, _ = shard
    assert clips[0] in LabelStore(folder, estimators=ESTIMATORS)
    assert clips[0] not in LabelStore(folder, estimators={**ESTIMATORS, "grid": (4, 6)})


@pytest.mark.parametrize("damage", ["cut", "text", "foreign"])
def test_corrupt_shard_is_named(shard, damage):
    path = shard[0] / "a.safetensors"
    content = path.read_bytes()
    if damage == "foreign":
        save_file({"weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"not a shard")
    with pytest.raises(UserError, match=r"a\.safetensors: not a readable shard"):
        LabelStore(shard[0])


def test_other_version_is_named(shard):
    path = shard[0] / "a.safetensors"
    header = {**read_header(path), "version": 99}
    save_file({}, path, {METADATA_KEY: json.dumps(header)})
    with pytest.raises(UserError, match=r"a\.safetensors: shard format 99"):
        LabelStore(shard[0])


def test_the_bytes_follow_from_the_labels(shard, tmp_path):
    _, clips, labels = shard
    for name in "bc":
        write_shard(tmp_path / name, clips, labels, ESTIMATORS, {"k": "v.mp4: broken"})
    content = (tmp_path / "a.safetensors").read_bytes()
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes() == content


def test_the_checksum_by_hand(shard):
    """SHA-256 of the header without it and of each tensor's name, kind and bytes in the file."""
    path = shard[0] / "a.safetensors"
    header = read_header(path)
    claimed = header.pop("sha256")
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    layout = json.loads(content[8 : 8 + length])
    types = {"F16": "torch.float16", "F32": "torch.float32"}
    for name in ("depth", "depth_alignment", "flow_i2v", "flow_v2i"):
        start, end = (8 + length + offset for offset in layout[name]["data_offsets"])
        kind = types[layout[name]["dtype"]]
        digest.update(f"{name} {kind} {tuple(layout[name]['shape'])}".encode())
        digest.update(content[start:end])
    assert digest.hexdigest() == claimed
    assert verify_shard(path) == {**header, "sha256": claimed}


@pytest.mark.parametrize("place", [b"0.mp4", b"a.Depth", b"broken", -1, -2000])
def test_any_flipped_bit_is_found(shard, place):
    path = shard[0] / "a.safetensors"
    content = bytearray(path.read_bytes())
    content[place if isinstance(place, int) else content.index(place)] ^= 1
    path.write_bytes(content)
    read_header(path)  # all that a quick look sees is that nothing is missing
    with pytest.raises(DamagedShard, match=r"a\.safetensors: .*its checksum differs.*; remove it"):
        verify_shard(path)


def test_the_first_format_is_still_read(shard):
    """It is the same without a checksum."""
    folder, clips, labels = shard
    path = folder / "a.safetensors"
    header = {**read_header(path), "version": 1}
    del header["sha256"]
    save_file(load_file(path), path, {METADATA_KEY: json.dumps(header)})
    assert verify_shard(path) == header
    read = LabelStore(folder).get(clips[2])
    assert torch.equal(read.flow_v2i.float(), labels[2].flow_v2i.half().float())


def test_error_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", fail)
    with pytest.raises(UserError, match="No space left"):
        write_shard(tmp_path / "a.safetensors", [make_clip(0)], [make_labels(0)], ESTIMATORS)
    assert list(tmp_path.iterdir()) == []


def test_killed_while_writing_leaves_no_shard(tmp_path):
    """Whatever a process leaves that dies before renaming is not taken for a shard."""
    child = os.fork()
    if child == 0:
        shards.os.fsync = lambda file: os._exit(9)
        write_shard(tmp_path / "a.safetensors", [make_clip(0)], [make_labels(0)], ESTIMATORS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "a.safetensors").exists()
    assert len(list(tmp_path.iterdir())) == 1  # the temporary file was there
    assert len(LabelStore(tmp_path)) == 0
    write_shard(tmp_path / "a.safetensors", [make_clip(0)], [make_labels(0)], ESTIMATORS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
