"""Outcomes of a simulated model by the day on which their labels become known.

The model is binary; both classes have the same share of wrong predictions.
"""

from __future__ import annotations

from math import erf, log, pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

MEDIAN_DELAY_DAYS, DELAY_SIGMA = 3.0, 0.5
"""Delays are log-normal: 95 % of the labels are known after 6.8 days."""
LONGEST_DELAY_DAYS = 40
YEAR = 365


class Case(NamedTuple):
    """What is simulated.

    Parameters
    ----------
    labels
        Predictions a day; each gets a label.
    error, error_after, change_day
        Share of wrong predictions before and from the day of the change on; None without a change.
    inflation
        Variance of the number of wrong predictions of a day, in units of the binomial variance; the
        effect belongs to the day of the prediction.
    memory
        Correlation of the effect from day to day: an AR(1) process.
    stickiness
        Probability that a prediction is wrong or right because the one before it was.
    base_rate, swing
        Share of positives, and how far it swings in a year, with a random phase.
    """

    labels: int
    error: float = 0.17
    error_after: float = 0.17
    change_day: int | None = None
    inflation: float = 1.0
    memory: float = 0.0
    stickiness: float = 0.0
    base_rate: float = 0.23
    swing: float = 0.0


def simulated(case: Case, days: int, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Rows and wrong predictions of one model.

    Returns
    -------
    tuple
        Each of shape (days, 2), by the day on which the label became known and the actual class,
        the negative one first. Predictions begin so early that the first day is like all others.
    """
    begin, total = LONGEST_DELAY_DAYS, LONGEST_DELAY_DAYS + days
    day = np.arange(total) - begin
    error = np.full(total, case.error)
    if case.change_day is not None:
        error[day >= case.change_day] = case.error_after
    if case.inflation > 1.0:
        effect = _autoregressive(total, case.memory, rng)
        sd = np.sqrt((case.inflation - 1.0) / (case.labels - 1) * error * (1.0 - error))
        error = np.clip(error + sd * effect, 0.002, 0.998)
    phase = rng.uniform(0.0, 2.0 * pi)
    base_rate = case.base_rate + case.swing * np.sin(2.0 * pi * day / YEAR + phase)
    if case.stickiness > 0.0:
        rows, wrong = _sticky(error, base_rate, case, rng)
    else:
        positive = rng.binomial(case.labels, base_rate)
        rows = np.stack([case.labels - positive, positive], axis=1)
        wrong = rng.binomial(rows, error[:, None])
    share = _delay_shares()
    known = np.zeros((2, total + LONGEST_DELAY_DAYS, 2), np.int64)
    for kind, counts in enumerate((wrong, rows - wrong)):
        spread = rng.multinomial(counts, share)
        for delay in range(LONGEST_DELAY_DAYS):
            known[kind, delay : delay + total] += spread[:, :, delay]
    wrong, right = known[:, begin : begin + days]
    return wrong + right, wrong


def _autoregressive(days: int, memory: float, rng: np.random.Generator) -> NDArray[np.float64]:
    effect = rng.standard_normal(days)
    for day in range(1, days):
        effect[day] = memory * effect[day - 1] + sqrt(1.0 - memory**2) * effect[day]
    return effect


def _sticky(
    error: NDArray[np.float64],
    base_rate: NDArray[np.float64],
    case: Case,
    rng: np.random.Generator,
) -> tuple[Counts, Counts]:
    shape = (len(error), case.labels)
    positive = rng.random(shape) < base_rate[:, None]
    fresh = (rng.random(shape) >= case.stickiness).ravel()
    fresh[0] = True
    drawn = (rng.random(shape) < error[:, None]).ravel()
    newest = np.maximum.accumulate(np.where(fresh, np.arange(fresh.size), 0))
    wrong = drawn[newest].reshape(shape)
    by_class = [~positive, positive]
    return (
        np.stack([each.sum(axis=1) for each in by_class], axis=1),
        np.stack([(each & wrong).sum(axis=1) for each in by_class], axis=1),
    )


def _delay_shares() -> NDArray[np.float64]:
    """Share of the labels of a day that become known that many days later."""
    moments = (np.arange(50) + 0.5) / 50  # of the prediction in its day
    until = [
        np.mean([_lognormal_cdf(days + 1 - moment) for moment in moments])
        for days in range(LONGEST_DELAY_DAYS)
    ]
    shares = np.diff(np.array([0.0, *until]))
    return np.asarray(shares / shares.sum())


def _lognormal_cdf(days: float) -> float:
    if days <= 0.0:
        return 0.0
    return 0.5 * (1.0 + erf(log(days / MEDIAN_DELAY_DAYS) / DELAY_SIGMA / sqrt(2.0)))
