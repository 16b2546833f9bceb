import math

import torch

from movideo.metrics import ClipMean


class Given(ClipMean):
    def update(self, figures: torch.Tensor) -> None:
        self.add(figures)


def test_clips_count_the_same_however_they_are_batched() -> None:
    metric = Given()
    metric.update(torch.tensor([1.0, 2.0, 3.0]))
    metric.update(torch.tensor([6.0]))
    assert metric.compute().item() == 3.0
    metric.reset()
    metric.update(torch.tensor([5.0]))
    assert metric.compute().item() == 5.0


def test_clips_without_a_figure_do_not_count() -> None:
    metric = Given()
    metric.update(torch.tensor([1.0, math.nan, 3.0]))
    assert metric.compute().item() == 2.0
    metric.reset()
    metric.update(torch.tensor([math.nan]))
    assert metric.compute().isnan()


def test_processes_merge_by_sums() -> None:
    one, other = Given(), Given()
    one.update(torch.tensor([1.0]))
    other.update(torch.tensor([4.0, 4.0]))
    one.merge_state(other)
    assert one.compute().item() == 3.0
