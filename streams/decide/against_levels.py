"""Comparison of a figure with fixed levels."""

from __future__ import annotations

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.streams.decide.judgement import Judgement, Severity, judgement_of, rows_of
from driftline.streams.decide.metric_info import unit_of
from driftline.streams.decide.wording import about, figure, headline, interval, span


class Levels(msgspec.Struct, frozen=True):
    """Levels of one metric.

    Parameters
    ----------
    breached
        (severity, level), the less severe first.
    below
        Whether a breach lies below a level; otherwise above it.
    clear
        Value at which an alert resolves: the mildest level, or one on its good side.
    """

    breached: tuple[tuple[Severity, float], ...]
    below: bool
    clear: float


def judge_levels(figures: WindowFigures, metric: str, levels: Levels) -> Judgement:
    """Judge a breach where the whole interval of the figure lies beyond a level, and "clear" where
    its value has returned to `levels.clear`.

    A figure without an interval is judged by its value.
    """
    value, ci, unit = figures.metrics.get(metric), figures.ci.get(metric), unit_of(metric)
    if value is None:
        return judgement_of(figures, "unclear")
    surely = value if ci is None else ci[1] if levels.below else ci[0]
    beyond = [
        (severity, level)
        for severity, level in levels.breached
        if (surely < level if levels.below else surely > level)
    ]
    severity, level = beyond[-1] if beyond else levels.breached[0]
    cleared = value >= levels.clear if levels.below else value <= levels.clear
    side = "below" if levels.below else "above"
    relation = side if beyond else "again within" if cleared else "near"
    return msgspec.structs.replace(
        judgement_of(figures, "breach" if beyond else "clear" if cleared else "within"),
        severity=severity,
        finding=f"{headline(metric)} of {about(figures)} was {figure(value, unit)}"
        f"{interval(ci, unit)} over {span(figures.window_start_ms, figures.window_end_ms)}, "
        f"{relation} {figure(level, unit)}",
        metric=metric,
        value=value,
        threshold=level,
        comparator="<" if levels.below else ">",
        n=rows_of(figures),
        ci=ci,
    )
