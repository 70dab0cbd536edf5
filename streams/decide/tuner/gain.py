"""Gain of another threshold, with an interval, on rows that had no part in choosing it.

Both thresholds decide the same rows, so their values are dependent. The rows fall into six cells
(actual label by score below both, between, above both), the gain is a function of the shares of
these cells, and the delta method gives its variance. Rows of one day are correlated, so the
variance is taken between blocks (days) where there are several, and is never less than that of
independent rows.
"""

from __future__ import annotations

from math import isfinite, sqrt

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.decide.daily_variance import student
from driftline.streams.decide.tuner.best_threshold import Ints
from driftline.streams.decide.tuner.objective import Floats, Objective

METHOD = (
    "paired difference of both thresholds on the same rows, delta method, "
    "variance between blocks of time, 95 %"
)
_STEP = 1e-6
# tn, fp, fn, tp as sums over the six cells: negatives and positives, each below, between and above
# the two thresholds.
_LOWER = np.array(
    [[1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]],
    dtype=np.float64,
)
_UPPER = np.array(
    [[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]],
    dtype=np.float64,
)


class Gain(msgspec.Struct, frozen=True):
    """Effect of a change of the threshold on an objective.

    Parameters
    ----------
    earlier, later
        Its value with the first and the second threshold.
    gain, low, high
        Improvement by the second threshold, and its 95 % interval.
    n, positives
        Number of rows, and of those with the positive label.
    blocks
        Number of blocks of time with rows.
    allowed
        Whether the objective allows the second threshold on these rows.
    metric
        Name of the judged figure: that of the objective or of its first goal.
    reaches_goal
        Whether the first goal is judged and only the second threshold reaches it.
    """

    earlier: float
    later: float
    gain: float
    low: float
    high: float
    n: int
    positives: int
    blocks: int
    allowed: bool
    metric: str
    reaches_goal: bool

    @property
    def relative(self) -> float | None:
        """The gain relative to the first value; None if that is 0."""
        return self.gain / abs(self.earlier) if self.earlier else None


def six_cells(negatives: Ints, positives: Ints, from_edge: int, to_edge: int) -> Ints:
    """Number of rows below, between and above two thresholds: negatives, then positives.

    Parameters
    ----------
    negatives, positives
        Shape (..., B): scores by actual label.
    from_edge, to_edge
        The thresholds, as edges of bins.

    Returns
    -------
    NDArray
        Shape (..., 6).

    Examples
    --------
    >>> six_cells(np.array([60, 0, 10]), np.array([10, 10, 20]), 2, 1).tolist()
    [60, 0, 10, 10, 10, 20]
    """
    edges = (min(from_edge, to_edge), max(from_edge, to_edge))
    parts = [
        part.sum(axis=-1)
        for counts in (negatives, positives)
        for part in np.split(counts, edges, axis=-1)
    ]
    return np.stack(parts, axis=-1)


def gain_of(
    six: Ints, objective: Objective, *, rises: bool, metric: str | None = None
) -> Gain | None:
    """The gain on these rows; None if either value is undefined.

    The objective is judged, or its first goal where it has one and the first threshold is not
    allowed on these rows.

    Parameters
    ----------
    six
        Shape (D, 6): cells of each block of time, as `six_cells` gives them.
    rises
        Whether the second threshold is the higher one.
    metric
        Name of the figure to judge; by default the rows decide.

    Examples
    --------
    >>> from driftline.streams.decide.tuner.objectives.accuracy import AccuracyObjective
    >>> result = gain_of(np.array([[60, 0, 10, 10, 10, 10]]), AccuracyObjective(), rises=False)
    >>> round(result.gain, 3), round(result.low, 3), round(result.high, 3)
    (0.1, 0.041, 0.159)

    References
    ----------
    A. W. van der Vaart (1998), Asymptotic Statistics, chapter 3, for the delta method.
    """
    six = six[six.sum(axis=1) > 0]
    total = six.sum(axis=0)
    n, blocks = int(total.sum()), len(six)
    if n == 0:
        return None
    before, after = (_LOWER, _UPPER) if rises else (_UPPER, _LOWER)
    shares = total / n
    allowed = bool(objective.allowed(*_cells(after @ shares))[0])
    goal = objective.first_goal()
    if metric is not None:
        judge = objective.judged_as(metric)
    elif goal is not None and not objective.allowed(*_cells(before @ shares))[0]:
        judge = goal if isfinite(_value(goal, before @ shares)) else objective
    else:
        judge = objective
    earlier, later = _value(judge, before @ shares), _value(judge, after @ shares)
    if not (isfinite(earlier) and isfinite(later)):
        return None
    slopes = _slopes(judge, before, after, shares)
    influence = slopes - shares @ slopes
    half = 1.959963984540054 * sqrt(float(shares @ influence**2) / n)
    if blocks > 1:
        between = float(((six @ influence) ** 2).sum()) * blocks / (blocks - 1)
        half = max(half, student(blocks - 1) * sqrt(between) / n)
    gain = judge.better_by(earlier, later)
    return Gain(
        earlier,
        later,
        gain,
        gain - half,
        gain + half,
        n,
        int(total[3:].sum()),
        blocks,
        allowed,
        judge.metric,
        judge is not objective and allowed,
    )


def _slopes(
    objective: Objective, before: NDArray[np.float64], after: NDArray[np.float64], shares: Floats
) -> Floats:
    """Derivative of the gain by each share, shape (6,): central differences; 0 in empty cells."""

    def gain_at(point: Floats) -> float:
        return objective.better_by(
            _value(objective, before @ point), _value(objective, after @ point)
        )

    slopes = np.zeros(6)
    for cell in np.flatnonzero(shares):
        step = np.zeros(6)
        step[cell] = _STEP * shares[cell]
        slopes[cell] = (gain_at(shares + step) - gain_at(shares - step)) / (2 * step[cell])
    return slopes


def _cells(four: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    return four[0:1], four[1:2], four[2:3], four[3:4]


def _value(objective: Objective, four: Floats) -> float:
    return float(objective.value(*_cells(four))[0])
