"""Leaving out a condition in training, for a whole sample at a time."""

from torch import Tensor

from movideo.errors import UserError


def drop_mask(uniform: Tensor, probability: float) -> Tensor:
    """Which samples lose the condition.

    Args:
        uniform: `(B,)` in [0, 1), one draw a sample (see `SampleRandomness.uniform`).
        probability: Share of samples that lose it: 0 never, 1 always.

    Returns:
        bool `(B,)`, True where the condition is dropped.

    Raises:
        UserError: The probability is not in [0, 1].
    """
    if not 0 <= probability <= 1:
        raise UserError(f"drop probability {probability}: it must be between 0 and 1")
    return uniform < probability
