"""The Inception Score by hand and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.image.inception import InceptionScore

from movideo.metrics import inception_score


def test_by_hand():
    sure_and_varied = torch.eye(4)
    assert inception_score(sure_and_varied, splits=1).item() == pytest.approx(4)
    unsure = torch.full((4, 4), 0.25)
    assert inception_score(unsure, splits=1).item() == pytest.approx(1)
    # each one's divergence from the mean of the two
    rows = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    marginal = (0.75, 0.25)
    first = math.log(1 / marginal[0])
    second = 0.5 * math.log(0.5 / marginal[0]) + 0.5 * math.log(0.5 / marginal[1])
    assert inception_score(rows, splits=1).item() == pytest.approx(math.exp((first + second) / 2))


def test_splits_are_scored_apart():
    """Two classes, one a split: within a split nothing varies."""
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert inception_score(rows, splits=2).item() == pytest.approx(1)
    assert inception_score(rows, splits=1).item() == pytest.approx(2)
    # one sample a split where there are more splits than samples
    assert inception_score(rows, splits=10).item() == pytest.approx(1)


def test_against_torchmetrics():
    logits = 3 * torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    theirs = InceptionScore(torch.nn.Identity(), splits=1)  # one, for it shuffles
    theirs.inception.num_features = 7
    theirs.features.append(logits)
    theirs._update_count = 1
    expected, _ = theirs.compute()
    found = inception_score(logits.softmax(dim=1), splits=1)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)  # theirs is in float32
