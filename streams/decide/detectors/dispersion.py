"""Variance of daily counts beyond the binomial variance, with the correlation of near days.

Days differ, and a label that comes days later spreads the effect of a day over its neighbours, so
the variance of a sum over many days is more than the sum of the variances of days. The long-run
variance counts both.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from driftline.streams.decide.detectors.change_evidence import Counts, Dispersion, Floats

SPAN = 30
"""Days of one estimate, each around its own rate: a lasting change affects one estimate at most."""
REACH = 7
"""Days from which on correlation is not counted."""
PRIOR_FACTOR, PRIOR_FREEDOM = 1.5, 6.0
"""What is assumed before the first estimate, and how many degrees of freedom it is worth."""


def span_factors(n: Counts, right: Counts) -> tuple[Floats, float]:
    """Long-run variance of one span in units of the binomial variance, and its degrees of freedom.

    Bartlett's estimate from the residuals of the days, divided by its mean for independent
    binomial days.

    Parameters
    ----------
    n, right
        Shape (SPAN, C).

    Returns
    -------
    tuple
        Shape (C + 1,), the last of all rows together; 1 for a stream without variance.

    References
    ----------
    W. K. Newey, K. D. West (1987), A simple, positive semi-definite, heteroskedasticity and
    autocorrelation consistent covariance matrix, Econometrica 55, 703-708.
    """
    # Half a row of each kind, so that a rate of 0 or 1 has a variance.
    rate = (right.sum(axis=0) + 0.5) / (n.sum(axis=0) + 1.0)
    residual = right - n * rate
    variance = n * (rate * (1.0 - rate))
    residual = np.concatenate([residual, residual.sum(axis=1, keepdims=True)], axis=1)
    variance = np.concatenate([variance, variance.sum(axis=1, keepdims=True)], axis=1).mean(axis=0)
    form, trace, freedom = _bartlett(len(n))
    factors = np.einsum("tc,ts,sc->c", residual, form, residual) / trace
    some = variance > 0
    return np.where(some, factors / np.where(some, variance, 1.0), 1.0), freedom


def dispersion(squares: Floats, freedom: float) -> Dispersion:
    """The factors from all spans so far, drawn towards what is assumed of a new model.

    Parameters
    ----------
    squares
        Shape (C + 1,), the sum of freedom times factor over the spans.
    freedom
        The sum of their degrees of freedom.

    Examples
    --------
    >>> by = dispersion(np.array([0.0, 87.0]), 29.0)
    >>> by.factors.round(2).tolist(), by.freedom
    ([1.0, 2.74], 35.0)
    """
    freedom_now = freedom + PRIOR_FREEDOM
    factors = (squares + PRIOR_FACTOR * PRIOR_FREEDOM) / freedom_now
    return Dispersion(np.maximum(factors, 1.0), freedom_now)


@lru_cache(maxsize=8)
def _bartlett(days: int) -> tuple[NDArray[np.float64], float, float]:
    """Matrix of the quadratic form, its trace, and its degrees of freedom by Satterthwaite."""
    day = np.arange(days)
    weights = np.maximum(1.0 - np.abs(day[:, None] - day) / REACH, 0.0)
    centred = np.eye(days) - 1.0 / days
    form = centred @ weights @ centred
    trace = float(np.trace(form))
    return form, trace, trace * trace / float((form * form).sum())
