import pytest
import torch

from movideo.losses import FramePerceptualLoss, VGG16Features
from movideo.metrics import PerceptualMetric
from tests.metrics.parts import judged


def test_averages_the_distances_of_a_loss() -> None:
    loss = FramePerceptualLoss(VGG16Features(width=4))
    metric = PerceptualMetric(loss)
    metric.name = "distance"
    decoded, truth = (2 * torch.rand(3, 2, 3, 16, 16) - 1 for _ in range(2))
    for some in (slice(0, 1), slice(1, 3)):
        names = [str(index) for index in range(3)[some]]
        metric.update(judged(decoded[some], truth=truth[some], names=names))
    # other batch sizes may add in another order
    assert metric.compute().item() == pytest.approx(loss(decoded, truth).item(), rel=1e-5)
    metric.reset()
    metric.update(judged(truth, truth=truth))
    assert metric.compute().item() == 0
    assert metric.higher_is_better is False
