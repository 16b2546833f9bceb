import pytest
import torch

from movideo.ops import normalize_depth, normalize_flow


def test_depth_is_normalised_over_the_clip() -> None:
    depth = torch.tensor([[0.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 1, 1, 2)
    assert normalize_depth(depth).flatten().tolist() == [-1, 0, 0.5, 1]
    both = normalize_depth(torch.cat([depth, 100 * depth + 7]))
    assert torch.allclose(
        both[0], both[1], atol=1e-6
    )  # clips are independent; one float32 rounding


def test_depth_ends_are_exact() -> None:
    out = normalize_depth(1000 + torch.rand(4, 3, 1, 9, 9))
    assert (out.amin((1, 2, 3, 4)) == -1).all()
    assert (out.amax((1, 2, 3, 4)) == 1).all()


def test_flat_depth_is_zero() -> None:
    depth = torch.full((1, 2, 1, 3, 3), 0.3, requires_grad=True)
    out = normalize_depth(depth)
    assert (out == 0).all()
    out.sum().backward()
    assert depth.grad is not None
    assert depth.grad.isfinite().all()


def test_flow_is_divided_by_the_longest_vector_of_either() -> None:
    i2v, v2i = torch.zeros(2, 3, 2, 4, 4), torch.zeros(2, 3, 2, 4, 4)
    i2v[0, 1, :, 2, 2] = torch.tensor([3.0, 4.0])
    v2i[0, 2, 0, 0, 0] = 2
    v2i[1, 0, 1, 1, 1] = -8
    out_i2v, out_v2i, scale = normalize_flow(i2v, v2i)
    assert scale.tolist() == [5, 8]
    assert torch.allclose(out_i2v[0, 1, :, 2, 2], torch.tensor([0.6, 0.8]))
    assert out_v2i[0, 2, 0, 0, 0] == 2 / 5
    assert out_v2i[1, 0, 1, 1, 1] == -1


def test_no_motion_stays_finite() -> None:
    still = torch.zeros(1, 2, 2, 3, 3, requires_grad=True)
    i2v, v2i, scale = normalize_flow(still, still)
    assert (i2v == 0).all()
    assert (v2i == 0).all()
    assert scale.tolist() == [0]
    (i2v.sum() + scale.sum()).backward()
    assert still.grad is not None
    assert still.grad.isfinite().all()


def test_a_quantile_ignores_one_outlier():
    """Of 2,000 vectors of length 1 and one of 50, a thousandth may be longer."""
    flow = torch.zeros(1, 10, 2, 10, 10)
    flow[:, :, 0] = 1.0
    flow[0, 3, :, 4, 5] = torch.tensor([30.0, 40.0])
    into, back, scale = normalize_flow(flow, torch.ones(1, 10, 2, 10, 10) / 2**0.5, quantile=0.001)
    assert float(scale) == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(into[0, 3, :, 4, 5], torch.tensor([0.6, 0.8]))  # shortened
    torch.testing.assert_close(into[0, 0, :, 0, 0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(back.norm(dim=2), torch.ones(1, 10, 10, 10))


def test_a_still_clip_comes_out_near_zero():
    """A static camera with an estimator's noise: the median 0.01 px, one outlier of 10 px."""
    generator = torch.Generator().manual_seed(0)
    flows = 0.01 * torch.randn(2, 1, 17, 2, 32, 32, generator=generator)
    flows[0, 0, 3, 0, 4, 5] = 10.0
    into, back, scale = normalize_flow(*flows, quantile=0.001, floor=0.5)
    assert float(scale) == 0.5
    lengths = torch.stack([into, back]).norm(dim=3)
    assert float((lengths < 0.1).float().mean()) > 0.999
    assert float(lengths.max()) == pytest.approx(1.0)


def test_depth_by_quantiles_is_cut_off_at_them():
    depth = torch.arange(1000.0).reshape(1, 10, 1, 10, 10)
    found = normalize_depth(depth, quantile=0.1)
    # numpy's own quantiles of 0 … 999: 99.9 and 899.1.
    expected = ((depth - 99.9) / (899.1 - 99.9) * 2 - 1).clamp(-1, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert bool((normalize_depth(torch.full((1, 3, 1, 4, 4), 5.0), quantile=0.1) == 0).all())
