import torch

from movideo.ops.length import vector_length


def test_lengths_and_their_slope() -> None:
    vectors = torch.tensor([[3.0, 0.0], [4.0, 0.0]]).view(1, 2, 1, 2).requires_grad_()
    lengths = vector_length(vectors)
    assert lengths.tolist() == [[[5.0, 0.0]]]
    lengths.sum().backward()
    assert vectors.grad is not None
    torch.testing.assert_close(
        vectors.grad.flatten(), torch.tensor([0.6, 0.0, 0.8, 0.0])
    )  # and no NaN where nothing moves
