"""Confidence intervals that several metrics share, vectorised over series.

All are two-sided at 95 %. Without observations they are NaN, and numpy gives no warning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[Floats, Floats]

Z95 = 1.959963984540054


def divided(numerator: Ints | Floats, denominator: Ints | Floats) -> Floats:
    """`numerator / denominator`, shapes broadcast; NaN where the denominator is 0.

    Examples
    --------
    >>> divided(np.array([1, 1]), np.array([2, 0])).tolist()
    [0.5, nan]
    """
    ratio: Floats = numerator / _not_zero(denominator)
    return ratio


def _not_zero(values: Ints | Floats) -> Floats:
    """The values with NaN in place of 0.

    For few values this takes a third of the time of np.divide with `where`.
    """
    known = np.array(values, np.float64)
    known[known == 0] = np.nan
    return known


def wilson(successes: Ints | Floats, trials: Ints | Floats) -> Interval:
    """Wilson's score interval for a proportion.

    Parameters
    ----------
    successes, trials
        Shape (S,), 0 <= successes <= trials. They need not be integers, so that an effective sample
        size can be given.

    Returns
    -------
    Lower and upper limits, each of shape (S,), within [0, 1]; NaN where trials is 0.

    Examples
    --------
    >>> [round(float(limit[0]), 4) for limit in wilson(np.array([9]), np.array([10]))]
    [0.5958, 0.9821]

    References
    ----------
    E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA
    22. R. G. Newcombe (1998), Two-sided confidence intervals for the single proportion, Statistics
    in Medicine 17.
    """
    known = _not_zero(trials)
    share, spread = successes / known, Z95 * Z95 / known
    whole = 1 + spread
    middle = (share + spread / 2) / whole
    half = np.sqrt(np.maximum(share * (1 - share) * spread + spread * spread / 4, 0.0)) / whole
    return np.minimum(np.maximum(middle - half, 0.0), share), np.maximum(
        np.minimum(middle + half, 1.0), share
    )


def wilson_from_variance(estimate: Floats, variance: Floats, n: Ints) -> Interval:
    """Wilson's interval from the variance of an estimate in [0, 1] that is not a plain proportion.

    The variance gives the number of trials at which a proportion would have it; `n` is used where
    the estimate is 0 or 1 or the variance is 0. So the limits stay inside [0, 1] and an estimate of
    0 or 1 has an interval.

    Parameters
    ----------
    estimate, variance, n
        Shape (S,): the estimate, its sampling variance, the number of rows.

    Examples
    --------
    >>> half = np.array([0.5])
    >>> low, high = wilson_from_variance(half, half * half / 100, np.array([500]))
    >>> round(float(low[0]), 4), round(float(high[0]), 4)
    (0.4038, 0.5962)

    References
    ----------
    E. L. Korn, B. I. Graubard (1998), Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data, Survey Methodology 24, for the effective
    sample size.
    """
    binomial = estimate * (1 - estimate)
    trials = np.where((variance > 0) & (binomial > 0), divided(binomial, variance), n)
    return wilson(estimate * trials, trials)


def square_and_add(estimates: Floats, low: Floats, high: Floats, weights: Floats) -> Interval:
    """Interval for a weighted sum of independent estimates from the interval of each.

    Parameters
    ----------
    estimates, low, high
        Shape (S, K): the estimates and their limits.
    weights
        Shape (S, K), at least 0; an estimate with weight 0 may be NaN.

    Examples
    --------
    >>> one = np.array([[0.5, 0.7]])
    >>> limits = square_and_add(one, one - 0.3, one + 0.4, np.array([[0.5, 0.5]]))
    >>> [round(float(limit[0]), 4) for limit in limits]
    [0.3879, 0.8828]

    References
    ----------
    G. Y. Zou, A. Donner (2008), Construction of confidence limits about effect measures: a general
    approach, Statistics in Medicine 27; for two proportions R. G. Newcombe (1998), Statistics in
    Medicine 17, method 10.
    """
    used = weights > 0
    total = np.where(used, weights * estimates, 0.0).sum(axis=1)
    below = np.where(used, weights * (estimates - low), 0.0)
    above = np.where(used, weights * (high - estimates), 0.0)
    known = used.any(axis=1)
    reach_low, reach_high = (
        np.sqrt((below * below).sum(axis=1)),
        np.sqrt((above * above).sum(axis=1)),
    )
    return np.where(known, total - reach_low, np.nan), np.where(known, total + reach_high, np.nan)


def poisson_score(events: Ints) -> Interval:
    """Score interval for the mean of a Poisson count, shape (S,).

    Examples
    --------
    >>> [round(float(limit[0]), 2) for limit in poisson_score(np.array([100]))]
    [82.23, 121.61]

    References
    ----------
    L. Barker (2002), A comparison of nine confidence intervals for a Poisson parameter, The
    American Statistician 56.
    """
    middle = events + Z95 * Z95 / 2
    half = Z95 * np.sqrt(events + Z95 * Z95 / 4)
    return np.maximum(middle - half, 0.0), middle + half


def quantile_ranks(q: float, n: Ints) -> Interval:
    """Shares of the sample between which the true quantile `q` lies, that is, the order statistics
    to read.

    Returns
    -------
    Two arrays of shape (S,) in [0, 1]; NaN where n is 0.

    Examples
    --------
    >>> [round(float(share[0]), 3) for share in quantile_ranks(0.5, np.array([100]))]
    [0.402, 0.608]

    References
    ----------
    W. J. Conover (1999), Practical Nonparametric Statistics, 3rd ed., section 3.2.
    """
    step = divided(np.ones(np.shape(n)), n)
    half = Z95 * np.sqrt(q * (1 - q) * step)
    # The upper limit is the order statistic after the rank, so that the coverage is not below the
    # nominal one.
    return np.maximum(q - half, 0.0), np.minimum(q + half + step, 1.0)
