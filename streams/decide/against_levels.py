"""Judges a figure against fixed levels."""

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
        Whether below a level is bad; else above.
    clear
        The value that ends an alert; on the good side of the mildest level, or that level.
    """

    breached: tuple[tuple[Severity, float], ...]
    below: bool
    clear: float


def judge_levels(seen: WindowFigures, metric: str, levels: Levels) -> Judgement:
    """Breach where the whole interval of the figure lies beyond a level, clear where its value is
    back at `levels.clear`.

    A figure without an interval is judged by its value.
    """
    value, ci, unit = seen.metrics.get(metric), seen.ci.get(metric), unit_of(metric)
    if value is None:
        return judgement_of(seen, "unclear")
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
        judgement_of(seen, "breach" if beyond else "clear" if cleared else "within"),
        severity=severity,
        said=f"{headline(metric)} of {about(seen)} was {figure(value, unit)}{interval(ci, unit)} over "
        f"{span(seen.window_start_ms, seen.window_end_ms)}, {relation} {figure(level, unit)}",
        metric=metric,
        value=value,
        threshold=level,
        comparator="<" if levels.below else ">",
        n=rows_of(seen),
        ci=ci,
    )
