"""How far vectors reach."""

import torch
from torch import Tensor


def vector_length(vectors: Tensor) -> Tensor:
    """Lengths `(…, H, W)` of vectors `(…, 2, H, W)`; the gradient is 0 where a vector is."""
    # Over the last axis, after a copy: over any other, torch's norm takes 30 times as long on CPU.
    lengths: Tensor = torch.linalg.vector_norm(vectors.movedim(-3, -1).contiguous(), dim=-1)
    return lengths
