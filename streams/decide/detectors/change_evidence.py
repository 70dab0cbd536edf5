"""Evidence that the rates of several binomial streams fell, and the size of the fall.

A stream is the share of right predictions among the rows of one actual class. The streams are
compared before and since a time, so a change of the base rate alone is no evidence. Which times are
compared, and the threshold, are the caller's.
"""

from __future__ import annotations

from math import erfc, exp, log, sqrt

import msgspec
import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

PRIOR_SCALE = 0.25
"""Standard deviation of a fall under the alternative, on the scale of 2 asin(sqrt(rate)): from 0.83
to 0.72.
"""
_Z = 1.959963984540054
_erfc = np.frompyfunc(erfc, 1, 1)


class Dispersion(msgspec.Struct, frozen=True):
    """Variance of the streams in units of the binomial variance.

    Parameters
    ----------
    factors
        Shape (C + 1,), at least 1: of each stream, and of all rows together.
    freedom
        Degrees of freedom of the factors.
    """

    factors: Floats
    freedom: float


class Fall(msgspec.Struct, frozen=True):
    """Size of a change for the worse.

    Parameters
    ----------
    stream
        Index of the stream; C for all of them together.
    before, since
        The rates. Of all streams together: their means with the same weights before and since.
    since_ci
        95 % interval of the rate since the change.
    loss, loss_ci
        (before - since) / before, with its 95 % interval.
    n_before, n_since
        Rows.
    """

    stream: int
    before: float
    since: float
    since_ci: tuple[float, float]
    loss: float
    loss_ci: tuple[float, float]
    n_before: int
    n_since: int


def log_evidence(
    n_before: Counts, right_before: Counts, n_since: Counts, right_since: Counts, by: Dispersion
) -> Floats:
    """Logarithms of Bayes factors of a fall against no change, each with its weight.

    On the scale of Anscombe's 2 asin(sqrt((k + 3/8) / (n + 3/4))) a rate has the variance
    1 / (n + 1/2), whatever the rate. A stream with the difference d between both sides, of variance
    v = factor (1 / n_before + 1 / n_since), has z = d / sqrt(v); with a half-normal prior of the
    fall, of scale s, the Bayes factor is

        2 Phi(z r) sqrt(1 - r^2) exp(z^2 r^2 / 2),    r^2 = s^2 / (s^2 + v).

    The uncertainty of both sides is in v. That of the factor is met by (f + 1) ln(1 + z^2 / f) in
    place of z^2, f its degrees of freedom: the likelihood ratio of a normal mean whose variance was
    estimated. All streams together are judged by the mean difference with weights 1 / v, so that a
    fall in one of them is not hidden by another base rate.

    Parameters
    ----------
    n_before, right_before, n_since, right_since
        Shape (T, C): rows and right predictions, for T times of change and C streams.

    Returns
    -------
    ndarray
        Shape (T, C + 1); the weights are 1/2 for all streams together, and 1 / (2 C) for each. The
        exponentials of a row add up to its Bayes factor, whose mean without change is about 1 at
        most.

    Examples
    --------
    >>> before, since = np.array([[1000, 200]]), np.array([[100, 20]])
    >>> plain = Dispersion(np.ones(3), 1e9)
    >>> same = log_evidence(before, before * 8 // 10, since, since * 8 // 10, plain)
    >>> worse = log_evidence(before, before * 8 // 10, since, since * 6 // 10, plain)
    >>> [round(float(np.exp(each).sum()), 2) for each in (same, worse)]
    [0.47, 4910.13]

    References
    ----------
    F. J. Anscombe (1948), The transformation of Poisson, binomial and negative-binomial data,
    Biometrika 35, 246-254.
    """
    streams = n_before.shape[1]
    fall = _angle(right_before, n_before) - _angle(right_since, n_since)
    precision = (n_before + 0.5) * (n_since + 0.5) / (n_before + n_since + 1.0)
    together = precision.sum(axis=1, keepdims=True)
    fall = np.concatenate([fall, (precision * fall).sum(axis=1, keepdims=True) / together], axis=1)
    v = by.factors / np.concatenate([precision, together], axis=1)
    z2 = (by.freedom + 1.0) * np.log1p(fall * fall / v / by.freedom)
    z = np.sign(fall) * np.sqrt(z2)
    r2 = PRIOR_SCALE**2 / (PRIOR_SCALE**2 + v)
    tail = _erfc(-z * np.sqrt(r2 / 2.0)).astype(np.float64)
    log_factor = np.log(np.maximum(tail, 1e-300)) + 0.5 * np.log1p(-r2) + 0.5 * z2 * r2
    return np.asarray(log_factor + np.log(weights_of(streams)))


def weights_of(streams: int) -> Floats:
    """Weights of the Bayes factors of each stream, and of all together.

    Examples
    --------
    >>> weights_of(2).tolist()
    [0.25, 0.25, 0.5]
    """
    weights = np.full(streams + 1, 0.5 / streams)
    weights[-1] = 0.5
    return weights


def log_sum(log_values: Floats) -> float:
    """Logarithm of the sum of exponentials; -inf for no values.

    Examples
    --------
    >>> round(log_sum(np.log([1.0, 2.0, 3.0])), 6) == round(log(6.0), 6)
    True
    """
    if not log_values.size:
        return float("-inf")
    largest = float(log_values.max())
    return largest + log(float(np.exp(log_values - largest).sum()))


def fall_of(
    stream: int,
    n_before: Counts,
    right_before: Counts,
    n_since: Counts,
    right_since: Counts,
    by: Dispersion,
) -> Fall:
    """The size of a change in one stream, or in all together.

    Parameters
    ----------
    stream
        Index of the stream; C for all.
    n_before, right_before, n_since, right_since
        Shape (C,).

    Examples
    --------
    >>> fall = fall_of(
    ...     0,
    ...     np.array([1000]),
    ...     np.array([800]),
    ...     np.array([250]),
    ...     np.array([150]),
    ...     Dispersion(np.ones(2), 30.0),
    ... )
    >>> fall.before, fall.since, round(fall.loss, 3), [round(x, 2) for x in fall.loss_ci]
    (0.8, 0.6, 0.25, [0.17, 0.33])
    """
    streams = len(n_before)
    if stream < streams:
        weights = np.zeros(streams)
        weights[stream] = 1.0
    else:
        # Streams without rows on one side have no part in the comparison.
        weights = n_before * n_since / np.maximum(n_before + n_since, 1)
        weights = weights / max(float(weights.sum()), 1e-9)
    factor = float(by.factors[stream])
    rates, variances, log_variances = [], [], []
    for n, right in ((n_before, right_before), (n_since, right_since)):
        rate = float((weights * right / np.maximum(n, 1)).sum())
        # Half a row of each kind, so that a rate of 0 or 1 has a variance.
        smooth = (right + 0.5) / (n + 1.0)
        variance = factor * float((weights**2 * smooth * (1.0 - smooth) / np.maximum(n, 1)).sum())
        rates.append(rate)
        variances.append(variance)
        log_variances.append(variance / max(float((weights * smooth).sum()), 1e-9) ** 2)
    before, since = rates
    half = _Z * sqrt(variances[1])
    ratio = max(since, 0.5 / (float(n_since.sum()) + 1.0)) / before if before > 0 else 1.0
    spread = _Z * sqrt(sum(log_variances))
    counted = weights > 0
    return Fall(
        stream=stream,
        before=before,
        since=since,
        since_ci=(max(since - half, 0.0), min(since + half, 1.0)),
        loss=(before - since) / before if before > 0 else 0.0,
        loss_ci=(1.0 - ratio * exp(spread), 1.0 - ratio * exp(-spread)),
        n_before=int(n_before[counted].sum()),
        n_since=int(n_since[counted].sum()),
    )


def _angle(right: Counts, n: Counts) -> Floats:
    return np.asarray(2.0 * np.arcsin(np.sqrt((right + 0.375) / (n + 0.75))))
