"""Alert rule: predictions that take too long."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import ceil, log
from typing import ClassVar, Final, Literal

import numpy as np

from driftline.schemas.results import WindowFigures
from driftline.streams.decide.against_levels import Levels
from driftline.streams.decide.detectors.level_evidence import Trial, raised
from driftline.streams.decide.judgement import Severity, rows_of
from driftline.streams.decide.level_rule import LevelRule
from driftline.streams.decide.rule import Positive
from driftline.streams.intervals import quantile_ranks

_QUANTILES: Final = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}
_LEAST_MS: Final = 1e-3
_ALLOWED: Final = 0.05


class LatencyRule(
    LevelRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="latency",
):
    """Fires when the 95th percentile of latency is above a level. Never fires where predictions
    carry no latency.

    The percentile is above a level if more than 5 % of the predictions are slower. The evidence of
    windows is added up.

    Parameters
    ----------
    false_alarms
        Budget: mean number of false alarms a year, over all segments; by default its part of
        `false_alarms_per_year`.
    warning_ms, critical_ms
        The levels.
    clear_ms
        The level at which the alert resolves; 0.8 of `warning_ms` by default.

    Notes
    -----
    How many predictions are slower is read off the quantiles of a window and the ends of their
    intervals (`rows_above`). Predictions without latency are taken to be like the others.

    Examples
    --------
    >>> from driftline.schemas.settings import ModelConfig
    >>> LatencyRule(warning_ms=200.0).bound(ModelConfig()).windows(ModelConfig())
    ('1h',)

    References
    ----------
    As for `error_rate`.
    """

    warning_ms: Positive = 1000.0
    critical_ms: Positive = 5000.0
    clear_ms: Positive | None = None

    beyond: ClassVar[str] = "took longer"
    concerns: ClassVar[Literal["behavior", "supply", "service"]] = "service"

    grades: ClassVar[Mapping[Severity, str]] = {
        "warning": "warning_ms",
        "critical": "critical_ms",
    }
    clear_field: ClassVar[str] = "clear_ms"

    def metric(self) -> str:
        """The 95th percentile."""
        return "latency_p95"

    def levels(self) -> Levels:
        """As the parameters say."""
        return Levels(
            (("warning", self.warning_ms), ("critical", self.critical_ms)),
            below=False,
            clear=0.8 * self.warning_ms if self.clear_ms is None else self.clear_ms,
        )

    def trial(self, figures: WindowFigures, level: float) -> Trial:
        """The slower predictions of a window, of which a level allows 5 %."""
        n = rows_of(figures)
        return Trial(n, rows_above(figures, level), _ALLOWED, raised(_ALLOWED))


def rows_above(figures: WindowFigures, level_ms: float) -> float:
    """Number of predictions of a window with a latency above a level, from 0 to `n`.

    The quantiles and the ends of their intervals are order statistics, so it is known how many rows
    lie above each of them. Between two of them it is interpolated, its logarithm linear in that of
    the latency; where no row lies in between, that is exact.

    """
    n = rows_of(figures)
    points: list[tuple[float, int]] = []
    for name, q in _QUANTILES.items():
        value, ci = figures.metrics.get(name), figures.ci.get(name)
        if value is not None:
            rank, low, high = _ranks(q, n)
            points.append((value, rank))
            if ci is not None:
                points += [(ci[0], low), (ci[1], high)]
    points.sort(key=lambda point: (point[1], point[0]))
    if not points:
        return 0.0
    if level_ms < points[0][0]:
        return float(n - points[0][1] + 1)
    below, rank = next(point for point in reversed(points) if point[0] <= level_ms)
    above = [point for point in points if point[0] > level_ms]
    if not above:
        return float(n - rank)
    value, next_rank = above[0]
    most, least = n - rank, n - next_rank + 1
    if most <= least:
        return float(least)
    part = log(max(level_ms, _LEAST_MS) / max(below, _LEAST_MS)) / log(
        value / max(below, _LEAST_MS)
    )
    return float(most * (least / most) ** part)


@lru_cache(maxsize=4096)
def _ranks(q: float, n: int) -> tuple[int, int, int]:
    """Ranks of quantile `q` among `n` rows, and of the ends of its interval."""
    low, high = quantile_ranks(q, np.array([n]))
    first, second, third = (
        min(max(ceil(each * n), 1), n) for each in (q, float(low[0]), float(high[0]))
    )
    return first, second, third
