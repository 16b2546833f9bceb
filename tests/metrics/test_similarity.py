"""SSIM against its definition, and neighbours by hand."""

import pytest
import torch

from movideo.metrics import neighbour_similarity, structural_similarity


def clips(seed: int) -> torch.Tensor:
    return 2 * torch.rand(2, 3, 3, 24, 24, generator=torch.Generator().manual_seed(seed)) - 1


def test_equal_clips_are_alike_and_others_less():
    one, other = clips(0), clips(1)
    assert structural_similarity(one, one).tolist() == pytest.approx([1, 1])
    assert (structural_similarity(one, other) < 0.2).all()


def test_flat_frames_by_hand():
    """Without structure only the means count: (2ab + c) / (a^2 + b^2 + c), c = (0.01 * 2)^2."""
    a, b, c = 0.5, 0.25, 0.02**2
    first, second = (torch.full((1, 2, 3, 16, 16), value) for value in (a, b))
    second[:, 1] = a  # the second frame is equal: 1
    expected = ((2 * a * b + c) / (a * a + b * b + c) + 1) / 2
    # float32; variances of flat frames are differences of equal numbers
    assert structural_similarity(first, second).item() == pytest.approx(expected, abs=1e-3)


def test_each_clip_has_its_own():
    one, other = clips(0), clips(0)
    other[1] = clips(1)[1]
    similar, different = structural_similarity(one, other).tolist()
    assert similar == pytest.approx(1)
    assert different < 0.2


def test_neighbours_by_hand():
    """Cosines 0 and 1 / sqrt 2; lengths do not count."""
    embeddings = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]])
    assert neighbour_similarity(embeddings).tolist() == pytest.approx([0.5**0.5 / 2])
    assert neighbour_similarity(embeddings[:, :1]).isnan().all()
