import math

import pytest
import torch

from movideo.errors import UserError
from movideo.losses import L1Loss


def test_is_the_mean_absolute_difference():
    decoded, truth = torch.zeros(2, 3, 3, 4, 4), torch.zeros(2, 3, 3, 4, 4)
    decoded[0] = 0.5
    truth[1, 0] = -0.3
    loss = L1Loss()
    assert loss.curve == "l1"
    # half of all at 0.5, a sixth at 0.3
    assert loss(decoded, truth).item() == pytest.approx(0.5 / 2 + 0.3 / 6)
    assert loss(truth, truth).item() == 0


def test_is_computed_in_float32_whatever_comes():
    truth = torch.full((1, 2, 3, 4, 4), 0.1)
    decoded = torch.zeros_like(truth).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = L1Loss()(decoded, truth)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(0.1)  # bfloat16 would make it 0.10009765625


def test_counts_from_its_first_step_if_it_has_a_weight():
    loss = L1Loss(weight=0.5, start_step=10)
    assert [loss.active(step) for step in (0, 9, 10, 11)] == [False, False, True, True]
    assert not L1Loss(weight=0).active(100)


@pytest.mark.parametrize(
    "wrong", [{"weight": -0.5}, {"weight": math.nan}, {"weight": math.inf}, {"start_step": -1}]
)
def test_refuses_numbers_that_mean_nothing(wrong):
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(UserError, match=f"^{name}: {value} for L1Loss; give [^\n]*$"):
        L1Loss(**wrong)
