"""Whole numbers in given proportions."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor


def share_out(total: int, weights: Sequence[float]) -> list[int]:
    """Divides `total` in proportion to the weights, by largest remainders, the first of equals.

    In exact arithmetic: floats would break ties by their rounding.
    """
    whole = sum(map(Fraction, weights))
    exact = [total * Fraction(weight) / whole for weight in weights]
    counts = list(map(floor, exact))
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts
