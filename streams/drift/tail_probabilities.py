"""Tail probabilities for the drift tests in plain Python, without SciPy."""

from __future__ import annotations

import math


def chi_squared_tail(x: float, degrees: int) -> float:
    """P(X >= x) of the chi-squared distribution with an integer number of degrees of freedom.

    Examples
    --------
    >>> round(chi_squared_tail(16.918978, 9), 6)
    0.05

    References
    ----------
    M. Abramowitz, I. A. Stegun (1964), Handbook of Mathematical Functions, 26.4.4 and 26.4.5.
    """
    if degrees < 1:
        raise ValueError(f"chi_squared_tail: needs at least 1 degree of freedom, got {degrees}")
    if x <= 0:
        return 1.0
    half = x / 2
    if degrees % 2:
        tail, term, first = (
            math.erfc(math.sqrt(half)),
            math.sqrt(4 * half / math.pi) * math.exp(-half),
            3,
        )
    else:
        tail, term, first = math.exp(-half), half * math.exp(-half), 4
    for degree in range(first, degrees + 1, 2):
        tail += term
        term *= x / degree
    return min(tail, 1.0)


def kolmogorov_tail(x: float) -> float:
    """P(K >= x) of the Kolmogorov distribution, the limit of sqrt(n) times the largest distance
    between distribution functions.

    Examples
    --------
    >>> round(kolmogorov_tail(1.3580986), 6)
    0.05

    References
    ----------
    A. N. Kolmogorov (1933), Sulla determinazione empirica di una legge di distribuzione; for small
    x the theta-function form of W. Feller (1948), On the Kolmogorov-Smirnov limit theorems for
    empirical distributions, Annals of Mathematical Statistics 19.
    """
    if x <= 0:
        return 1.0
    if x < 1:
        # Four terms: the fifth is below 1e-40 here.
        scale = math.pi * math.pi / (8 * x * x)
        return max(
            0.0,
            1
            - math.sqrt(2 * math.pi)
            / x
            * sum(math.exp(-((2 * k - 1) ** 2) * scale) for k in range(1, 5)),
        )
    return max(0.0, 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 6)))
