import pytest
import torch
from torch import Tensor

from movideo.diffusion import ClassifierFreeGuidance
from movideo.errors import UserError

TIMESTEPS = torch.tensor([10, 10])


class Network:
    """Predicts 3 with the condition and 1 without it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.drops: list[list[bool]] = []

    def __call__(self, drop: Tensor) -> Tensor:
        self.drops.append(drop.tolist())
        return torch.where(drop, 1.0, 3.0)[:, None]


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.0, 1.0), (0.5, 2.0), (1.0, 3.0), (2.5, 6.0)]
)  # 1 + scale * (3 - 1)
def test_guided_prediction_by_hand(scale: float, expected: float) -> None:
    guided = ClassifierFreeGuidance(scale)(Network(), TIMESTEPS)
    assert guided.tolist() == [[expected], [expected]]


@pytest.mark.parametrize(
    ("scale", "drops"),
    [
        (1.0, [[False, False]]),
        (0.0, [[True, True]]),
        (3.0, [[True, True], [False, False]]),
    ],
)
def test_evaluations_are_only_those_needed(scale: float, drops: list[list[bool]]) -> None:
    network = Network()
    ClassifierFreeGuidance(scale)(network, TIMESTEPS)
    assert network.drops == drops


def test_a_negative_scale_is_refused() -> None:
    with pytest.raises(UserError, match="-1"):
        ClassifierFreeGuidance(-1.0)
