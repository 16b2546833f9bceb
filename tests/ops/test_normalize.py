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
