"""What metrics have in common: each video once, whatever the batch, the order and the processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from movideo.metrics import (
    PSNR,
    EmbeddedVideoDistance,
    FrechetDistance,
    MotionFidelity,
    VideoMetric,
)
from movideo.metrics.base import clip_ids
from movideo.metrics.extractors import VideoNetwork
from movideo.motion.space import Motion
from tests.metrics.parts import Classifier, judged, part, random_clips
from tests.metrics.two_processes import results


class Given(VideoMetric):
    """The first pixel, or NaN where it is negative."""

    name = "given"

    def measure(self, clips):
        pixel = clips.video[:, 0, 0, 0, 0]
        return torch.where(pixel < 0, torch.nan, pixel)


def given(*values: float, first: int = 0):
    video = torch.tensor(values)[:, None, None, None, None].expand(-1, 1, 3, 2, 2)
    return judged(video, names=[f"v{first + i}" for i in range(len(values))])


def test_a_mean_over_videos_that_have_a_metric():
    metric = Given()
    metric.update(given(1, -1, 3))
    assert metric.compute().item() == 2
    metric.update(given(5, first=3))
    assert metric.compute().item() == 3


def test_a_video_counts_once():
    """Samplers repeat some to give all processes as many."""
    metric = Given()
    metric.update(given(1, 3))
    metric.update(given(1))
    assert metric.compute().item() == 2
    ids, rows = metric.table()
    assert len(ids) == len(rows) == 2
    assert (ids.diff() > 0).all()


def test_without_videos_there_is_none():
    assert Given().compute().isnan()
    assert Given().interval() is None


def test_a_single_video_has_no_interval():
    metric = Given()
    metric.update(given(1, -1))
    assert metric.interval() is None


def test_the_interval_of_a_mean():
    """Two values: a resampled pair is (0, 0), mixed or (1, 1), with 1/4, 1/2, 1/4."""
    metric = Given()
    metric.update(given(0, 1))
    assert metric.interval(level=0.8) == (0, 1)
    assert metric.interval(level=0.4) == (0.5, 0.5)


def test_fits_says_whether_all_is_there():
    video = random_clips(2)
    assert not PSNR().fits(judged(video))
    assert PSNR().fits(judged(video, truth=video))
    assert not MotionFidelity().fits(judged(video, truth=video))


def metrics():
    return [PSNR(), EmbeddedVideoDistance(), FrechetDistance(VideoNetwork(Classifier()))]


def test_neither_batches_nor_their_order_matter():
    clips = judged(random_clips(5), truth=random_clips(5, seed=1))
    for together, apart in zip(metrics(), metrics(), strict=True):
        together.update(clips)
        for index in ([3, 1], [4], [0, 2]):
            apart.update(part(clips, index))
        assert together.compute().item() == apart.compute().item()  # to the last bit
        assert together.interval(replicates=5) == apart.interval(replicates=5)


def test_copies_share_networks_but_not_videos():
    metric = EmbeddedVideoDistance()
    copy = metric.clone()
    assert copy.extractor is metric.extractor
    clips = judged(random_clips(3), truth=random_clips(3, seed=1))
    copy.update(clips)
    assert len(copy.rows) == 3
    assert metric.rows == metric.true_rows == []
    assert copy.compute().item() > 0
    copy.reset()
    assert copy.rows == copy.true_rows == []


def test_the_motion_of_each_goes_along():
    motion = Motion(*(torch.rand(3, 4, c, 32, 32) for c in (1, 2, 2)))
    clips = judged(random_clips(3), motion=motion)
    together, apart = MotionFidelity(), MotionFidelity()
    together.update(clips)
    for index in (2, 0, 1):
        apart.update(part(clips, [index]))
    assert torch.equal(together.table()[1], apart.table()[1])


@pytest.mark.timeout(120)
def test_two_processes_give_what_one_gives(tmp_path):
    script = Path(__file__).with_name("two_processes.py")

    commands = [[sys.executable, str(script), str(rank), str(tmp_path)] for rank in (0, 1)]
    running = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True) for c in commands]
    for process in running:
        _, error = process.communicate(timeout=100)
        assert process.returncode == 0, error
    expected = results(list(range(6)))
    assert len(expected) == 9
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        # to the last bit, on either process, or on the first alone
        alone = expected if rank == 0 else []
        assert found == {
            **{"even": expected, "one has none": expected},
            **{"even, gathered": alone, "one has none, gathered": alone},
        }


# -------------------------------------------------------------------------------- of two methods


def pair(own, others):
    """The same metric of two methods, of videos `v0`, `v1`, ..."""
    metrics = Given(), Given()
    for metric, values in zip(metrics, (own, others), strict=True):
        metric.update(given(*values))
    return metrics


def groups(*names):
    return {int(clip_ids([f"v{i}"])): name for i, name in enumerate(names)}


def test_a_difference_is_of_videos_that_both_have():
    own, others = pair((1, 3, -1, 5), (0.5, 1, 1))
    found = own.difference(others, groups("a", "b", "c", "d"))
    assert (found.value, found.samples) == (1.25, 2)
    assert found.interval == (0.5, 2.0)  # both videos, or either of them twice


def test_what_all_videos_share_cancels():
    """Unpaired, such means could be told apart of no two videos of hundreds."""
    level = torch.arange(30.0)
    own, others = pair((level + 0.25).tolist(), level.tolist())
    low, high = own.difference(others, groups(*range(30))).interval
    assert (low, high) == pytest.approx((0.25, 0.25), abs=1e-12)  # of sums in float64


def test_videos_of_a_group_are_one_draw():
    own, others = pair((1, 1, 1, 4), (0, 0, 0, 0))
    assert own.difference(others, groups("a", "a", "a", "b")).interval == (1.0, 4.0)
    assert own.difference(others, groups("a", "a", "a", "a")).interval is None


class Features(Given):
    """Two numbers a video, as metrics of sets keep them."""

    def measure(self, clips):
        return super().measure(clips)[:, None].expand(-1, 2)


def test_there_is_no_difference_without_common_videos_or_of_sets():
    own, others = pair((1,), (-1,))
    assert own.difference(others, groups("a")) is None
    sets = Features(), Features()
    for metric in sets:
        metric.update(given(1, 2))
    assert sets[0].difference(sets[1], groups("a", "b")) is None
