"""The recorded performance of a version, which later figures are compared with.

The registry keeps it, stage 2 computes it and stage 3 reads it.
"""

from __future__ import annotations

import msgspec

from driftline.schemas.results import Interval, LostRows


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """Performance of a version on its reference span, at one maturity.

    Parameters
    ----------
    metrics, ci
        Values and 95 % intervals by metric.
    span
        Event time of its rows, RFC 3339, end excluded.
    n, n_predictions, label_coverage
        Outcomes, predictions, and their ratio.
    daily_variance, days
        Sample variance of the daily values by metric, and the number of days.
    recorded_by
        Who sent the command. The baseline of a person stays until a person records another one.
    losses
        By input, the lost rows that may belong to the span: the values lack them.
    """

    metrics: dict[str, float | None]
    span: tuple[str, str] | None = None
    ci: dict[str, Interval] = {}
    n: int = 0
    n_predictions: int = 0
    label_coverage: float | None = None
    daily_variance: dict[str, float] = {}
    days: int = 0
    recorded_by: str = ""
    losses: list[LostRows] = []
