"""Which clips an epoch has, in which batches, on which rank."""

from collections import Counter

import numpy as np
import pytest
from torch.utils.data import DistributedSampler

from datamodules.epoch_order import EpochOrder
from datamodules.proportions import share_out
from datamodules.sampler import PlaceSampler


def order(sources, buckets=None, weights=None, batch_size=4, seed=0):
    sources = np.array(sources)
    buckets = np.zeros_like(sources) if buckets is None else np.array(buckets)
    return EpochOrder(sources, buckets, weights, batch_size, seed)


def places(order, rank, world_size, epoch):
    sampler = PlaceSampler(order.sources, order, rank, world_size)
    sampler.set_epoch(epoch)
    assert len(sampler) == len(list(sampler))
    return list(sampler)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_clips_are_dealt_as_torch_deals_them(world_size):
    for epoch in (0, 1, 7):
        for rank in range(world_size):
            torchs = DistributedSampler(range(48), world_size, rank, seed=5)
            torchs.set_epoch(epoch)
            ours = places(order([0] * 48, seed=5), rank, world_size, epoch)
            assert [place.clip for place in ours] == list(torchs)
            assert [p.position for p in ours] == list(range(rank, 48, world_size))
            assert {place.epoch for place in ours} == {epoch}


def test_ranks_share_batches_of_one_bucket():
    buckets = [0, 1, 1] * 20
    mixed = order([0] * 60, buckets, batch_size=8)
    for epoch in range(3):
        ranks = [places(mixed, rank, 2, epoch) for rank in range(2)]
        dealt = sorted(place for rank in ranks for place in rank)
        assert dealt == sorted(places(mixed, 0, 1, epoch))
        for first in range(0, len(ranks[0]), 4):
            step = [buckets[p.clip] for rank in ranks for p in rank[first : first + 4]]
            assert len(set(step)) == 1
        clips = [place.clip for place in dealt]
        assert len(set(clips)) == len(clips)
        # 20 clips of one bucket fill 2 batches of 8, 40 of the other 5.
        assert Counter(buckets[clip] for clip in clips) == {0: 16, 1: 40}


def test_buckets_take_turns():
    """Batches of both come all through an epoch: neither is left for its end."""
    buckets = np.array([0, 1] * 200)
    batches = order([0] * 400, buckets).batches(epoch=0)
    for half in (batches[:50], batches[50:]):
        # 50 batches, evenly: 25 of each, give or take three standard deviations (3.5) or so.
        assert 14 < (buckets[half[:, 0]] == 0).sum() < 36


def test_weights_share_out_the_epoch():
    sources = np.array([0] * 900 + [1] * 100)
    weighted = order(sources, weights=[1, 3], batch_size=10)
    times = []
    for epoch in range(4):
        drawn = weighted.batches(epoch).ravel()
        assert np.bincount(sources[drawn]).tolist() == [250, 750]
        times.append(np.bincount(drawn, minlength=1000))
        assert set(times[-1][:900]) == {0, 1}
        assert set(times[-1][900:]) == {7, 8}
    assert not np.array_equal(times[0], times[1])
    assert np.array_equal(weighted.batches(2), weighted.batches(2))


def test_weights_keep_the_number_of_batches_of_each_bucket():
    random = np.random.default_rng(0)
    sources, buckets = random.integers(2, size=(2, 500))
    weighted = order(sources, buckets, weights=[5, 1], batch_size=8)
    counts = [np.bincount(buckets[weighted.batches(epoch)[:, 0]]).tolist() for epoch in range(5)]
    assert counts[1:] == counts[:-1]


def test_share_out_by_hand():
    assert share_out(10, [1, 1, 1]) == [4, 3, 3]
    assert share_out(10, [5, 4, 3]) == [4, 3, 3]
    assert share_out(2, [1, 1, 1]) == [1, 1, 0]  # the first of equals
    assert share_out(2, [0.1, 0.1, 0.1]) == [1, 1, 0]
    assert share_out(7, [2, 1]) == [5, 2]  # 4.67 and 2.33
    assert share_out(100, [0.5, 0.25, 0.25]) == [50, 25, 25]
    assert sum(share_out(1001, [0.1, 0.7, 3.3])) == 1001
