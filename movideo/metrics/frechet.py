"""How far apart two sets of features are."""

import torch
from torch import Tensor

from movideo.errors import UserError


def frechet_distance(first: Tensor, second: Tensor) -> Tensor:
    """Fréchet distance of the normal distributions that two sets of features have.

    `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` (Heusel et al. 2017), means and covariances those
    of the samples. In float64, without the root of a matrix: where `S1 = A^T A` and `S2 = B^T B`,
    the eigenvalues of `(S1 S2)^(1/2)` are the singular values of `A B^T`. That also holds where the
    covariances are singular, as with fewer samples than features.

    Args:
        first: `(N, D)`.
        second: `(M, D)`.

    Returns:
        A scalar, at least 0, float64.

    Raises:
        UserError: a set has fewer than 2 samples.
    """
    for features in (first, second):
        if len(features) < 2:
            raise UserError(
                f"Fréchet distance: a set of {len(features)} samples has no covariance; give at "
                "least 2, and thousands to compare with the literature"
            )
    first, second = first.double(), second.double()
    apart = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    one, other = _root(first), _root(second)
    shared = torch.linalg.svdvals(one @ other.T).sum()
    distance: Tensor = apart + one.square().sum() + other.square().sum() - 2 * shared
    return distance.clamp_min(0)


def _root(features: Tensor) -> Tensor:
    """A matrix R of at most D rows with `R^T R` the covariance of features `(N, D)`."""
    centred = (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5
    root: Tensor = torch.linalg.qr(centred, mode="r").R
    return root
