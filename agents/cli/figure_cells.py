"""Figures as cells of a table: which metrics there are, and the text of a value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from driftline.agents.cli.output import WrongInput, milliseconds, number

if TYPE_CHECKING:
    from driftline.schemas.results import WindowFigures

IN_MILLISECONDS: Final = ("delay_p50", "delay_p95", "latency_p50", "latency_p95", "latency_p99")


def check_metrics(metrics: Iterable[str], records: Iterable[WindowFigures]) -> None:
    """Check that records, if there are any, have these metrics.

    Raises
    ------
    WrongInput
        If none of them has one; the message lists those that there are.
    """
    known = sorted({name for record in records for name in record.metrics})
    for name in metrics:
        if known and name not in known:
            raise WrongInput(f'no figure has a metric "{name}"; there are {", ".join(known)}')


def value_cell(name: str, value: float, interval: tuple[float, float] | None, between: str) -> str:
    """A value, `between` and its interval, with the unit of the metric."""
    written = milliseconds if name in IN_MILLISECONDS else number
    if interval is None or math.isnan(interval[0]):
        return written(value)
    return f"{written(value)}{between}[{written(interval[0])}, {written(interval[1])}]"


def metric_cell(
    name: str,
    metrics: Mapping[str, float | None],
    ci: Mapping[str, tuple[float, float]],
    null_reasons: Mapping[str, str],
    *,
    between: str,
) -> str:
    """A metric of a record, `between` and its interval; the reason if there is no value."""
    if name not in metrics:
        return "-"
    value = metrics[name]
    if value is None:
        return null_reasons.get(name, "not defined")
    return value_cell(name, value, ci.get(name), between)
