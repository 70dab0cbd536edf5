"""The demo's model: a logistic regression that predicts at the scheduled departure whether a flight
will arrive late.

It is trained on January to March and predicts the rest of the year. January to March itself is
predicted by cross-validation over weeks, so that the reference is out of sample like production.
Deterministic. Reading the flights is `flights.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from driftline.agents.demo.flights import LATE_MINUTES, NEVER, Flights
from driftline.schemas.times import DAY_MS, HOUR_MS

MODEL_NAME = "flight-delay"
MODEL_VERSION = "1.0.0"

# Midnight in New York: the start of production. The training uses the truths known by then.
PRODUCTION_MS = int(datetime(2013, 4, 1, 4, tzinfo=UTC).timestamp()) * 1_000

RECENT_MS = 2 * HOUR_MS  # span of the feature `recent_late_share`
WEEK_MS = 7 * DAY_MS

RIDGE = 5.0  # shrinks the weights of destinations and carriers with few flights
MAX_STEPS = 20
CONVERGED = 1e-6  # largest change of a weight in a step, in log odds


@dataclass(frozen=True)
class Scored:
    """Scores of all flights, in the flights' order.

    Attributes
    ----------
    score
        Shape (N,), the probability of arriving late.
    threshold
        Lowest score that is predicted "late"; maximises F1 on the cross-validated predictions.
    recent_late_share
        Shape (N,), the feature; NaN if no flight had left in the last two hours.
    training
        Shape (N,), bool, flights on which the production model was trained.
    """

    score: NDArray[np.float64]
    threshold: float
    recent_late_share: NDArray[np.float64]
    training: NDArray[np.bool_]


def score_flights(flights: Flights) -> Scored:
    """Train on January to March and score the whole year."""
    recent = recent_late_share(flights)
    design = Design.of(flights, recent)
    early = flights.departure_ms < PRODUCTION_MS
    training = early & flights.known & (flights.truth_ms <= PRODUCTION_MS)
    target = flights.late.astype(np.float64)

    weights = fit(design.rows(training), target[training])
    score = design.score(weights)
    week = (flights.departure_ms - flights.departure_ms[0]) // WEEK_MS
    for number in range(int(week[early].max()) + 1):
        other_weeks = training & (week != number)
        held_out = early & (week == number)
        score[held_out] = design.rows(held_out).score(
            fit(design.rows(other_weeks), target[other_weeks], start=weights)
        )
    return Scored(
        score, best_f1_threshold(score[training], flights.late[training]), recent, training
    )


def recent_late_share(flights: Flights) -> NDArray[np.float64]:
    """Share of late departures among the flights that left the airport in the last two hours.

    Uses what was known at the scheduled departure: flights that had left, by their actual
    departure. A flight still at the gate is not counted.

    Returns
    -------
    NDArray[np.float64]
        Shape (N,), in [0, 1]; NaN if no flight left in those two hours.
    """
    share = np.full(len(flights), np.nan)
    for origin in range(len(flights.origin_names)):
        here = flights.origin == origin
        left = here & (flights.left_ms != NEVER)
        order = np.argsort(flights.left_ms[left], kind="stable")
        left_ms = flights.left_ms[left][order]
        late_so_far = np.concatenate(
            [[0], np.cumsum((flights.departure_delay[left] > LATE_MINUTES)[order])]
        )
        now = flights.departure_ms[here]
        first, end = np.searchsorted(left_ms, now - RECENT_MS), np.searchsorted(left_ms, now)
        with np.errstate(invalid="ignore"):
            share[here] = (late_so_far[end] - late_so_far[first]) / (end - first)
    return share


@dataclass(frozen=True)
class Design:
    """The design matrix of a logistic regression on categories and one number, in sparse form.

    Attributes
    ----------
    columns
        Shape (C, N): for each categorical column the index of the weight of the row's category;
        column 0 is the intercept.
    number
        Shape (N,), the numeric column; its weight is the last one.
    n_weights
        Number of weights D.
    """

    columns: NDArray[np.int64]
    number: NDArray[np.float64]
    n_weights: int

    @classmethod
    def of(cls, flights: Flights, recent: NDArray[np.float64]) -> Design:
        """Build the matrix from hour, weekday, carrier, origin and destination as categories, and
        the recent late share as a number.
        """
        categories = [
            (np.zeros(len(flights), dtype=np.int64), 1),
            (flights.hour, 24),
            (flights.weekday, 7),
            (flights.carrier, len(flights.carrier_names)),
            (flights.origin, len(flights.origin_names)),
            (flights.dest, len(flights.dest_names)),
        ]
        starts = np.cumsum([0, *(size for _, size in categories)])
        columns = np.stack(
            [codes + start for (codes, _), start in zip(categories, starts, strict=False)]
        )
        return cls(columns, np.nan_to_num(recent, nan=0.0), int(starts[-1]) + 1)

    def rows(self, selected: NDArray[np.bool_]) -> Design:
        """The matrix of the selected rows."""
        return Design(self.columns[:, selected], self.number[selected], self.n_weights)

    def score(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each row, shape (N,), for weights of shape (D,)."""
        log_odds = weights[-1] * self.number
        for column in self.columns:
            log_odds += weights[column]
        probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-log_odds))
        return probability

    def transposed_times(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """X'v, shape (D,), for v of shape (N,)."""
        product = np.zeros(self.n_weights)
        for column in self.columns:
            product += np.bincount(column, weights=values, minlength=self.n_weights)
        product[-1] = self.number @ values
        return product

    def weighted_gram(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """X' diag(v) X, shape (D, D), for v of shape (N,)."""
        size = self.n_weights
        gram = np.zeros((size, size))
        for a, first in enumerate(self.columns):
            for second in self.columns[a + 1 :]:
                block = np.bincount(first * size + second, weights=values, minlength=size * size)
                gram += block.reshape(size, size)
            gram[:, -1] += np.bincount(first, weights=values * self.number, minlength=size)
        gram += gram.T
        np.fill_diagonal(gram, self.transposed_times(values))
        gram[-1, -1] = values @ self.number**2
        return gram


def fit(
    design: Design, target: NDArray[np.float64], *, start: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Fit the weights of a ridge logistic regression by Newton's method.

    Sums per category replace products with a dense matrix: 0.02 s per step for 80,000 flights
    instead of 0.1 s.

    Parameters
    ----------
    design
        The training rows (N rows, D weights).
    target
        Shape (N,), 1.0 for late and 0.0 for on time.
    start
        Shape (D,), initial weights; by default zeros.

    Returns
    -------
    NDArray[np.float64]
        Shape (D,).

    Raises
    ------
    ArithmeticError
        If the steps do not converge.
    """
    penalty = np.full(design.n_weights, RIDGE)
    penalty[[0, -1]] = 1e-3
    weights = np.zeros(design.n_weights) if start is None else start.copy()
    for _ in range(MAX_STEPS):
        probability = design.score(weights)
        gradient = design.transposed_times(target - probability) - penalty * weights
        curvature = design.weighted_gram(probability * (1.0 - probability)) + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < CONVERGED:
            return weights
    raise ArithmeticError(
        f"demo model: not converged after {MAX_STEPS} Newton steps on {len(target)} flights"
    )


def best_f1_threshold(score: NDArray[np.float64], late: NDArray[np.bool_]) -> float:
    """The threshold, in thousandths, with the highest F1 of score >= threshold; the lowest if
    several are equal.

    Examples
    --------
    >>> best_f1_threshold(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.101
    """
    thousandth = np.floor(score * 1_000).astype(np.int64)
    positives = np.bincount(thousandth[late], minlength=1_001)[::-1].cumsum()[::-1]
    predicted = np.bincount(thousandth, minlength=1_001)[::-1].cumsum()[::-1]
    f1 = 2.0 * positives / np.maximum(predicted + late.sum(), 1)
    return int(np.argmax(f1)) / 1_000


def auc(score: NDArray[np.float64], late: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; ties count half."""
    _, rank, counts = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2.0
    n_late = int(late.sum())
    n_on_time = len(late) - n_late
    return float((middle[rank][late].sum() - n_late * (n_late + 1) / 2.0) / (n_late * n_on_time))
