"""Student's t: how far the ends of an interval lie where few runs say what the noise is."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

NODES = 64  # of Gauss and Legendre's quadrature; the quantiles are good to 1e-6
HALVINGS = 60
MANY = 1e4  # degrees of freedom beyond which the normal's is as wide to 1e-4, and too narrow a peak
FEW = 8  # degrees of freedom below which a fit goes through too many rows for its residuals to tell


@lru_cache(maxsize=256)
def quantile(share: float, freedom: float) -> float:
    """The value that a t variable of `freedom` degrees, at least one, stays below with probability
    `share` above one half. With t = sqrt(freedom) tan(angle) its density is a power of a cosine."""
    points, weights = np.polynomial.legendre.leggauss(NODES)

    def mass(angle: float) -> float:
        at = angle * (points + 1) / 2
        return float(angle / 2 * weights @ np.cos(at) ** (freedom - 1))

    whole = 2 * mass(np.pi / 2)
    low, high = 0.0, np.pi / 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if 0.5 + mass(middle) / whole < share:
            low = middle
        else:
            high = middle
    return float(np.sqrt(freedom) * np.tan(low))


def over_normal(level: float, freedom: float) -> float:
    """How many times as far as a normal's the ends of a central `level` lie."""
    from statistics import NormalDist  # it brings decimal, which no prediction by a paper needs

    if not freedom <= MANY:
        return 1.0
    share = (1 + level) / 2
    return quantile(share, max(1.0, freedom)) / NormalDist().inv_cdf(share)
