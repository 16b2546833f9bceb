"""How sure a classifier is of each sample, and how varied samples are."""

import torch
from torch import Tensor


def inception_score(probabilities: Tensor, splits: int = 10) -> Tensor:
    """Inception Score (Salimans et al. 2016).

    `exp(mean of KL(p(y|x) || p(y)))` of each split, averaged over splits. In float64.

    Args:
        probabilities: of classes, `(N, K)`, each row of sum 1.
        splits: into this many parts of consecutive samples, as equal as they can be; no more than
            there are samples.

    Returns:
        A scalar in [1, K], float64; NaN without samples.
    """
    parts = probabilities.double().tensor_split(max(1, min(splits, len(probabilities))))
    return torch.stack([_divergence(part).exp() for part in parts]).mean()


def _divergence(probabilities: Tensor) -> Tensor:
    """Mean over samples of the divergence from their mean; 0 log 0 is 0."""
    marginal = probabilities.mean(dim=0, keepdim=True)
    own, shared = (torch.special.xlogy(probabilities, p) for p in (probabilities, marginal))
    divergence: Tensor = (own - shared).sum(dim=1)
    return divergence.mean()
