"""Labels from clips: exact shifts, resuming, ranks, broken clips, statistics."""

import json
import logging
import math
from itertools import product

import pytest
import torch
from safetensors.torch import save_file

from movideo.clips.clip import Clip
from movideo.errors import UserError, VideoError
from movideo.estimators import DepthEstimator, DISFlow, FlowEstimator
from movideo.motion.space import MotionSpace, PerFrameMotionSpace
from movideo.ops import warp
from movideo.scenes.render import render_scene
from movideo.shards import folder as label_folder
from movideo.shards import labels as labels_module
from movideo.shards.folder import deal_clips
from movideo.shards.labels import LabelProducer, label_clip, label_statistics
from movideo.shards.producer import missing_clips, produce_rows
from movideo.shards.shard import METADATA_KEY, ClipLabels, identity_alignment, read_header
from movideo.shards.store import LabelStore

SHIFT = 1.5  # pixels to the right per frame
SIZE = (8, 12)


class RedDepth(DepthEstimator):
    """The red channel."""

    def init_args(self):
        return {}

    def forward(self, video):
        return video[:, :1]


class BlueFlow(FlowEstimator):
    """A pan whose position is the mean of the blue channel; never quite 0, as real estimators."""

    def __init__(self, bias=0.25):
        super().__init__()
        self.bias = bias

    def init_args(self):
        return {"bias": self.bias}

    def forward(self, source, target):
        move = (target[:, 2] - source[:, 2]).mean(dim=(1, 2)) + self.bias
        flow = source.new_zeros(len(source), 2, *source.shape[-2:])
        flow[:, 0] = move[:, None, None]
        return flow


def make_clip(index, num_frames=3):
    return Clip(f"{index}.mp4", f"{index:064x}", 0.0, 7.5, num_frames, SIZE, 1)


def make_video(clip):
    video = torch.zeros(clip.num_frames, 3, *clip.size)
    video[:, 0] = torch.linspace(-1, 1, clip.size[1])
    video[:, 2] += (SHIFT * torch.arange(clip.num_frames))[:, None, None]
    return video


@pytest.fixture
def reads(monkeypatch):
    """Every clip that is read, in order; clips of `bad.mp4` cannot be. Shards may be few."""
    record = []
    monkeypatch.setattr(label_folder, "SHARDS", 1)

    def read(clip):
        record.append(clip)
        if clip.video == "bad.mp4":
            raise VideoError("bad.mp4: cannot be decoded; remove it")
        return make_video(clip)

    monkeypatch.setattr(labels_module, "read_clip", read)
    return record


def precompute(clips, folder, grid=None, bias=0.25, **options):
    return produce_rows(clips, folder, LabelProducer(RedDepth(), BlueFlow(bias), grid), **options)


def test_flows_point_the_right_way_and_vanish_at_the_key_frame():
    clip = make_clip(0, num_frames=40)  # more frames than one batch of pairs
    result = label_clip(make_video(clip), 17, RedDepth(), BlueFlow())
    distance = SHIFT * (17 - torch.arange(40.0))  # from frame f to the key frame
    expected = torch.where(distance == 0, 0, distance + 0.25)
    assert torch.allclose(result.flow_i2v[:, 0, 3, 5], expected)
    assert torch.allclose(
        result.flow_v2i[:, 0, 3, 5], torch.where(distance == 0, 0, 0.25 - distance)
    )
    assert (result.flow_i2v[17] == 0).all()
    assert (result.flow_v2i[17] == 0).all()


def test_warping_with_estimated_labels_gives_the_frames():
    scene = render_scene(5)
    result = label_clip(scene.video, scene.key_index, RedDepth(), DISFlow())
    key = scene.video[scene.key_index].expand_as(scene.video)
    seen = scene.visible.expand_as(scene.video) > 0.5

    def psnr(flow):
        return float(-10 * torch.log10(((warp(key, flow) - scene.video)[seen] / 2).square().mean()))

    # Exact flow gives over 35 dB; the estimate is off at motion edges.
    assert psnr(result.flow_i2v) > 28
    assert psnr(result.flow_i2v) > psnr(result.flow_v2i) + 5


def test_grid_resizes_fields_and_vectors():
    video = make_video(make_clip(0))
    full = label_clip(video, 1, RedDepth(), BlueFlow())
    small = label_clip(video, 1, RedDepth(), BlueFlow(), grid=(4, 3))
    assert small.depth.shape == (3, 1, 4, 3)
    # 12 to 3 columns: vectors a quarter as long; depth is the sample at floor((i + 0.5) * 4).
    assert torch.allclose(small.flow_i2v[..., 0, 0], full.flow_i2v[..., 0, 0] / 4)
    assert torch.equal(small.depth[0, 0, 0], full.depth[0, 0, 0, [2, 6, 10]])


def test_precompute_round_trip_and_resume(tmp_path, reads):
    clips = [make_clip(index) for index in range(10)]
    assert precompute(clips, tmp_path, shard_size=4) == {}
    assert sorted(clip.key for clip in reads) == sorted(clip.key for clip in clips)
    assert len(list(tmp_path.iterdir())) == 3
    store = LabelStore(tmp_path)
    assert missing_clips(clips, store) == []
    # 1.5 + 0.25 is a float16 number.
    assert (store.get(clips[3]).flow_i2v[0, 0] == SHIFT + 0.25).all()

    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    reads.clear()
    precompute(list(reversed(clips)), tmp_path, shard_size=4)
    assert reads == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_only_new_clips_are_labelled(tmp_path, reads):
    clips = [make_clip(index) for index in range(10)]
    precompute(clips[:9], tmp_path, shard_size=4)
    reads.clear()
    precompute(clips, tmp_path, shard_size=4)
    assert reads == clips[9:]


def test_killed_halfway_keeps_finished_shards(tmp_path, reads, monkeypatch):
    clips = [make_clip(index) for index in range(8)]
    read = labels_module.read_clip

    def stop(clip):
        if len(reads) == 6:
            raise KeyboardInterrupt
        return read(clip)

    monkeypatch.setattr(labels_module, "read_clip", stop)
    with pytest.raises(KeyboardInterrupt):
        precompute(clips, tmp_path, shard_size=4)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(missing_clips(clips, LabelStore(tmp_path))) == 4
    monkeypatch.setattr(labels_module, "read_clip", read)
    reads.clear()
    precompute(clips, tmp_path, shard_size=4)
    assert len(reads) == 4
    assert missing_clips(clips, LabelStore(tmp_path)) == []


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_ranks_cover_each_clip_once(tmp_path, reads, world_size):
    folder = tmp_path / "labels"
    clips = [make_clip(index, frames) for index, frames in product(range(7), (3, 4))]
    for rank in range(world_size):
        order = clips if rank % 2 else clips[::-1]  # each rank may list its files differently
        precompute(order, folder, rank=rank, world_size=world_size, shard_size=2)
    assert sorted(clip.key for clip in reads) == sorted(clip.key for clip in clips)
    rows = [row["key"] for path in folder.iterdir() for row in read_header(path)["rows"]]
    assert sorted(rows) == sorted(clip.key for clip in clips)


def test_clips_are_dealt_evenly_to_many_shards():
    for count, size in [(10, 1), (300, 2), (9000, 64)]:
        clips = [make_clip(index) for index in range(count)]
        shards = deal_clips(clips[::-1])
        assert {len(shard) for shard in shards[:-1]} == {size}
        keys = [clip.key for shard in shards for clip in shard]
        assert keys == sorted(clip.key for clip in clips)
        two = [sum(map(len, shards[rank::2])) for rank in range(2)]
        assert max(two) - min(two) <= size


def test_broken_clips_are_recorded_and_not_tried_again(tmp_path, reads, caplog):
    folder = tmp_path / "labels"
    bad = Clip("bad.mp4", "f" * 64, 0.0, 7.5, 3, SIZE, 1)
    clips = [make_clip(0), bad, make_clip(1)]
    with caplog.at_level(logging.WARNING):
        failed = precompute(clips, folder)
    assert failed == {bad.key: "bad.mp4: cannot be decoded; remove it"}
    assert len(caplog.records) == 1
    assert "1 clips" in caplog.text
    assert "bad.mp4" in caplog.text
    store = LabelStore(folder)
    assert len(store) == 2
    assert missing_clips(clips, store) == []
    reads.clear()
    assert precompute(clips, folder) == failed
    assert reads == []


def test_only_broken_clips(tmp_path, reads):
    bad = Clip("bad.mp4", "f" * 64, 0.0, 7.5, 3, SIZE, 1)
    assert list(precompute([bad], tmp_path)) == [bad.key]
    assert len(LabelStore(tmp_path)) == 0


def test_other_settings_make_other_labels(tmp_path, reads):
    clip = make_clip(0)
    precompute([clip], tmp_path)
    precompute([clip], tmp_path, bias=0.5)
    precompute([clip], tmp_path, grid=(4, 6))
    assert len(reads) == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_labels_of_other_settings_are_told_once(tmp_path, reads, caplog):
    clips = [make_clip(0), make_clip(1)]
    precompute(clips[:1], tmp_path / "one")
    precompute(clips[1:], tmp_path / "two", bias=0.5)
    assert caplog.records == []  # of other clips
    precompute(clips, tmp_path / "three", bias=0.75)
    (message,) = (record.message for record in caplog.records)
    assert message == (
        f"{tmp_path / 'three'}: asked for flow.init_args.bias=0.75, found "
        f"flow.init_args.bias=0.25 in {tmp_path / 'one'}; making new labels"
    )


def test_unreadable_labels_beside_ours_stop_nobody(tmp_path, reads):
    (tmp_path / "others").mkdir()
    of_the_future = {METADATA_KEY: json.dumps({"version": 99})}
    save_file({}, tmp_path / "others" / "new.safetensors", of_the_future)
    (tmp_path / "others" / "cut.safetensors").write_bytes(b"cut")
    assert precompute([make_clip(0)], tmp_path / "ours") == {}


def test_a_damaged_shard_is_made_again(tmp_path, reads, caplog):
    clips = [make_clip(index) for index in range(8)]
    precompute(clips, tmp_path / "labels", shard_size=4)
    path = sorted((tmp_path / "labels").iterdir())[1]
    whole = path.read_bytes()
    for damage in (whole[:-1], whole + b"x", whole[: len(whole) // 4], b""):
        path.write_bytes(damage)
        reads.clear()
        caplog.clear()
        precompute(clips, tmp_path / "labels", shard_size=4)
        assert path.read_bytes() == whole
        assert len(reads) == 4
        (message,) = {record.message for record in caplog.records}
        assert message == f"{path}: damaged; it is made again"


def test_labels_beyond_float16_are_refused(tmp_path, reads):
    class Far(RedDepth):
        def forward(self, video):
            return super().forward(video) + 70_000  # float16 ends at 65504

    failed = produce_rows([make_clip(0)], tmp_path, LabelProducer(Far(), BlueFlow()))
    assert list(failed.values()) == ["0.mp4: its labels are not finite in float16; remove it"]


def test_known_labels_are_passed_over(tmp_path, reads):
    clips = [make_clip(index) for index in range(3)]
    precompute(clips[:2], tmp_path / "exact")
    reads.clear()
    precompute(clips, tmp_path / "own", known=LabelStore(tmp_path / "exact"))
    assert reads == clips[2:]


def test_statistics_by_hand():
    depth = torch.zeros(2, 1, 4, 4)
    depth[..., 2:] = 8.0  # half -1, half 1 once normalised: standard deviation 1
    flow_i2v, flow_v2i = torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4, 4)
    flow_i2v[0, 0], flow_v2i[0, 0] = 3.0, -3.0
    one = ClipLabels(depth, flow_i2v, flow_v2i, identity_alignment(2))
    # One component of four, in both flows, is +1 or -1: variance 1 / 4, on any grid.
    for grid in ((4, 4), (2, 2)):
        statistics = label_statistics([(one, 1.0)] * 2, MotionSpace(grid))
        assert math.isclose(statistics.depth_std, 1.0, abs_tol=1e-9)
        assert math.isclose(statistics.flow_std, 0.5, abs_tol=1e-9)


def test_statistics_of_frames_normalised_by_themselves():
    depth, flow = torch.zeros(2, 1, 2, 2), torch.zeros(2, 2, 2, 2)
    depth[0, ..., 1], depth[1, ..., 1] = 8.0, 2.0
    flow[0, 0], flow[1, 0] = 3.0, 1.0
    labels = ClipLabels(depth, flow, flow, identity_alignment(2))
    # Alone every frame's depth is half -1, half 1, and one of its two components of flow is 1:
    # mean 1/2, deviation 1/2. Over the clip they are smaller.
    alone = label_statistics([(labels, 1.0)], PerFrameMotionSpace((2, 2)))
    assert math.isclose(alone.depth_std, 1.0, abs_tol=1e-9)
    assert math.isclose(alone.flow_std, 0.5, abs_tol=1e-9)
    assert label_statistics([(labels, 1.0)], MotionSpace((2, 2))).flow_std < 0.45


def test_statistics_of_nothing_moving_and_of_nothing():
    zero = torch.zeros(2, 2, 4, 4)
    still = ClipLabels(zero[:, :1], zero, zero, identity_alignment(2))
    statistics = label_statistics([(still, 1.0)], MotionSpace((2, 2)))
    assert (statistics.depth_std, statistics.flow_std) == (1.0, 1.0)
    with pytest.raises(UserError, match="no labels"):
        label_statistics([], MotionSpace((2, 2)))


def test_estimators_leave_the_device_when_all_is_made(tmp_path, reads):
    class Watched(RedDepth):
        left = False

        def cpu(self):
            self.left = True
            return super().cpu()

    depth = Watched()
    produce_rows([make_clip(0)], tmp_path, LabelProducer(depth, BlueFlow()))
    assert depth.left
