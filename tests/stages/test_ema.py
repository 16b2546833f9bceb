import pytest
import torch
from torch import nn

from stages.ema import WeightAverage


def averaged(values: list[float], decay: float) -> float:
    """The average after the parameter took these values."""
    module, average = nn.Linear(1, 1, bias=False), WeightAverage(decay)
    for value in values:
        nn.init.constant_(module.weight, value)
        average.update(dict(module.named_parameters()))
    assert average.updates == len(values)
    return average.tensors["weight"].item()


def test_decay_is_ramped():
    # n = 1 starts at 4; n = 2 keeps 3/12 of it; n = 3 keeps 4/13 of that
    second = 4 * 3 / 12 + 8 * 9 / 12
    third = second * 4 / 13 + 16 * 9 / 13
    # float32, three operations
    assert averaged([4.0, 8.0], 0.999) == pytest.approx(second, rel=1e-6)
    assert averaged([4.0, 8.0, 16.0], 0.999) == pytest.approx(third, rel=1e-6)


def test_decay_has_a_ceiling():
    assert averaged([4.0, 8.0], 0.1) == pytest.approx(4 * 0.1 + 8 * 0.9, rel=1e-6)


def test_applied_swaps_in_and_out():
    module, average = nn.Linear(1, 1, bias=False), WeightAverage(0.5)
    for value in (2.0, 4.0):
        nn.init.constant_(module.weight, value)
        average.update(dict(module.named_parameters()))
    kept = average.tensors["weight"].item()
    with average.applied(module):
        assert module.weight.item() == kept != 4.0
    assert module.weight.item() == 4.0
    assert torch.equal(average.tensors["weight"], torch.tensor([[kept]]))
