import pytest
import torch

from movideo.losses import FramePerceptualLoss, VGG16Features
from movideo.metrics import PerceptualDistance


def clips(batch: int) -> torch.Tensor:
    return 2 * torch.rand(batch, 2, 3, 16, 16) - 1


def first_pixel(decoded: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return (decoded - truth).abs()[:, 0, 0, 0, 0]


def test_every_clip_counts_the_same() -> None:
    metric, zero = PerceptualDistance(first_pixel), torch.zeros(1, 2, 3, 4, 4)
    metric.update(zero + 0.2, zero)
    metric.update(torch.cat((zero + 0.4, zero + 0.9)), torch.cat((zero, zero)))
    assert metric.compute().item() == pytest.approx(0.5)
    metric.reset()
    metric.update(zero, zero)
    assert metric.compute().item() == 0
    assert metric.higher_is_better is False


def test_averages_the_distances_of_a_loss() -> None:
    loss = FramePerceptualLoss(VGG16Features(width=4))
    metric = PerceptualDistance(loss.distances)
    decoded, truth = clips(3), clips(3)
    metric.update(decoded[:1], truth[:1])
    metric.update(decoded[1:], truth[1:])
    # other batch sizes may add in another order
    assert metric.compute().item() == pytest.approx(loss(decoded, truth).item(), rel=1e-5)
    assert not metric.state_dict()  # the loss stays where it was


def test_a_module_becomes_a_part_of_the_metric() -> None:
    network = torch.nn.Bilinear(2, 2, 1)
    assert dict(PerceptualDistance(network).named_modules())["distance"] is network
