"""The difference of a metric between two windows, with an interval, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["better", "worse", "more", "less", "not_clear", "no_value"]
Figures = tuple[Mapping[str, float | None], Mapping[str, tuple[float, float]]]
"""Values and 95 % intervals by metric."""


@dataclass(kw_only=True)
class Difference:
    """A metric of two versions in the same window.

    Attributes
    ----------
    a, b
        The values; null where there is none.
    difference, low, high
        b - a, and its 95 % interval from those of both values, as of independent rows; null where
        one is missing.
    """

    metric: str
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None


def difference(metric: str, a: Figures, b: Figures) -> Difference:
    """The difference of a metric, with an interval from those of both (Zou and Donner 2008)."""
    # They take a tenth of a second, and verbs that compare nothing import this module.
    import numpy as np

    from driftline.streams.intervals import square_and_add

    (values_a, ci_a), (values_b, ci_b) = a, b
    of_a, of_b = values_a.get(metric), values_b.get(metric)
    found = Difference(metric=metric, a=of_a, b=of_b, difference=None, low=None, high=None)
    if of_a is None or of_b is None:
        return found
    found.difference = of_b - of_a
    if metric in ci_a and metric in ci_b:
        (low_a, high_a), (low_b, high_b) = ci_a[metric], ci_b[metric]
        low, high = square_and_add(
            np.array([[of_b, -of_a]]),
            np.array([[low_b, -high_a]]),
            np.array([[high_b, -low_a]]),
            np.ones((1, 2)),
        )
        found.low, found.high = float(low[0]), float(high[0])
    return found


def direction(found: Difference) -> Direction:
    """What a difference says: only one whose whole interval is on one side of 0 is clear.

    Examples
    --------
    >>> direction(Difference(metric="f1", a=0.8, b=0.6, difference=-0.2, low=-0.3, high=-0.1))
    'worse'
    """
    from driftline.streams.decide.metric_info import known_metrics

    if found.a is None or found.difference is None:
        return "no_value"
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return "not_clear"
    plugin = known_metrics().get(found.metric)
    better = None if plugin is None else plugin.higher_is_better
    is_less = found.difference < 0
    if better is None:
        return "less" if is_less else "more"
    return "worse" if is_less == better else "better"
