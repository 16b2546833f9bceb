import math

import pytest
import torch

from stages.schedules import WarmupCosine


def rates(steps: int, **options) -> list[list[float]]:
    """Learning rates of two groups at every step."""
    groups = [{"params": [torch.zeros(1)], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    schedule = WarmupCosine(optimizer, **options)
    seen = []
    for _ in range(steps):
        seen.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    return seen


def test_warm_up_then_cosine_to_the_final_share():
    first = [rate for rate, _ in rates(8, warmup_steps=2, total_steps=6, final=0.1)]
    cosine = [0.1 + 0.9 * (1 + math.cos(math.pi * p)) / 2 for p in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert first == pytest.approx([1 / 3, 2 / 3, *cosine])  # double precision


def test_rate_stays_without_an_end():
    assert [rate for rate, _ in rates(4, warmup_steps=1)] == pytest.approx([0.5, 1, 1, 1])


def test_groups_keep_their_ratio():
    for first, second in rates(5, warmup_steps=2, total_steps=4):
        assert second == pytest.approx(0.1 * first)
