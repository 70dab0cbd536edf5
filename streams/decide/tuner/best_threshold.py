"""Best threshold of a score histogram, exact at the resolution of its bins.

A threshold on the edge of a bin decides each row of the histogram, so one cumulative pass evaluates
all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftline.streams.decide.tuner.objective import Floats, Objective

Ints = NDArray[np.int64]


def cells_by_edge(negatives: Ints, positives: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    """Cells tn, fp, fn, tp of the threshold at each edge, four arrays of shape (B + 1,).

    At edge k the rows in bins k and above are predicted positive: all rows at 0, none at B.

    Parameters
    ----------
    negatives, positives
        Shape (B,): scores by actual label.

    Examples
    --------
    >>> tn, fp, fn, tp = cells_by_edge(np.array([3, 1]), np.array([0, 2]))
    >>> tn.tolist(), tp.tolist()
    ([0.0, 3.0, 4.0], [2.0, 2.0, 0.0])
    """
    tn = np.concatenate(([0.0], np.cumsum(negatives, dtype=np.float64)))
    fn = np.concatenate(([0.0], np.cumsum(positives, dtype=np.float64)))
    return tn, tn[-1] - tn, fn, fn[-1] - fn


def resolution_error(
    negatives: Ints, positives: Ints, objective: Objective, edge: int
) -> float | None:
    """How much better than at `edge` the value could be with a threshold inside a bin, at most: if
    it decided all rows of the bin correctly, and those of the other bins as an edge does. Only
    where the objective allows that. None if the value at the edge is undefined.

    Examples
    --------
    >>> from driftline.streams.decide.tuner.objectives.accuracy import AccuracyObjective
    >>> error = resolution_error(np.array([5, 3, 0]), np.array([0, 2, 4]), AccuracyObjective(), 1)
    >>> round(error, 4)
    0.2143
    >>> resolution_error(np.array([5, 0]), np.array([0, 2]), AccuracyObjective(), 1)
    0.0
    """
    tn, fp, fn, tp = cells_by_edge(negatives, positives)
    at_edge = float(objective.value(tn[[edge]], fp[[edge]], fn[[edge]], tp[[edge]])[0])
    cells = tn[1:], fp[1:], fn[:-1], tp[:-1]
    inside = np.where(objective.allowed(*cells), objective.value(*cells), np.nan)
    if not np.isfinite(at_edge):
        return None
    gains = inside - at_edge if objective.higher_is_better else at_edge - inside
    return float(max(np.nanmax(gains, initial=0.0), 0.0))


def best_edge(
    negatives: Ints,
    positives: Ints,
    objective: Objective,
    *,
    near: int,
    lowest: int = 0,
    highest: int | None = None,
) -> int | None:
    """The edge with the best value, nearest to `near` among equals, then the lower one; None if no
    edge is allowed and has a value.

    Parameters
    ----------
    negatives, positives
        Shape (B,): scores by actual label.
    near
        Edge of the threshold in force.
    lowest, highest
        The edges between which the threshold lies; by default it can be above all bins.

    Examples
    --------
    >>> from driftline.streams.decide.tuner.objectives.f1 import F1Objective
    >>> best_edge(np.array([5, 5, 0, 0]), np.array([0, 1, 0, 4]), F1Objective(), near=4)
    3
    """
    cells = cells_by_edge(negatives, positives)
    values = objective.value(*cells)
    usable = objective.allowed(*cells) & np.isfinite(values)
    usable[:lowest] = False
    if highest is not None:
        usable[highest + 1 :] = False
    if not usable.any():
        return None
    scores = np.where(usable, values if objective.higher_is_better else -values, -np.inf)
    edges = np.flatnonzero(scores == scores.max())
    return int(edges[np.argmin(np.abs(edges - near))])
