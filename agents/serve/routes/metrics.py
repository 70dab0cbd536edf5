"""Metrics of one series over time, and of traffic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from driftline.agents.model_status import WATCHED_BY_DEFAULT, watched_metrics
from driftline.agents.read_model.figure_reads import Curve, Series, only
from driftline.agents.read_model.series_order import USUAL_OF_TRAFFIC
from driftline.agents.serve.answers.answer import Page
from driftline.agents.serve.answers.figures import MetricColumns, Metrics
from driftline.agents.serve.beside_baseline import BesideBaseline, beside_baseline
from driftline.agents.serve.columns import check_metrics, numbers, times
from driftline.agents.serve.route import Limit, Name, Route, Table, Unanswerable
from driftline.agents.serve.series_choice import (
    JUDGED,
    Lane,
    SeriesQuery,
    chosen_series,
    known_at,
    name_of,
)
from driftline.agents.serve.spans import SeriesSpanQuery, chosen_span
from driftline.agents.serve.standing import Standing, standing
from driftline.agents.serve.thinning import thinned
from driftline.agents.serve.view import View
from driftline.schemas.times import format_time, parse_time
from driftline.streams.decide.metric_info import known_metrics, unit_of

Points = Annotated[int, Meta(ge=2, le=10_000)]
_REGULAR: Final = ("tumbling", "sliding")


class MetricsQuery(SeriesSpanQuery, kw_only=True, frozen=True):
    """Parameters of `/metrics`.

    Attributes
    ----------
    metric
        Metrics; by default the one that is judged, balanced_accuracy without one, or those of
        traffic.
    points
        With more windows in the span, only so many of them: the first, the last, and those with the
        least and the greatest values of the first metric in between.
    provisional
        Whether windows that are still open are there too.
    limit
        Number of windows of one answer, at most.
    after
        `page.next` of the answer before.
    """

    metric: tuple[Name, ...] = ()
    points: Points | None = None
    provisional: bool = False
    limit: Limit = 10_000
    after: Name | None = None


class TrafficQuery(MetricsQuery, kw_only=True, frozen=True):
    """Parameters of `/traffic`."""

    lane: Lane = "traffic"


def metrics(view: View, query: MetricsQuery) -> Metrics:
    """Metrics of one series over time, as columns: values with intervals, rows, baseline, usual
    range and alert line.
    """
    series = chosen_series(view, query)
    return series_over_time(view, query, series, query.metric)


def traffic(view: View, query: TrafficQuery) -> Metrics:
    """Throughput, errors and latency over time, as `/metrics` of the lane `traffic`."""
    return metrics(view, query)


def series_over_time(
    view: View, query: MetricsQuery, series: Series, wanted: Sequence[str]
) -> Metrics:
    """Metrics of a series over time.

    Raises
    ------
    Unanswerable
        If the series has no such metric.
    """
    figures, limit_ms = view.reads.figures, known_at(query.at)
    known = figures.span(series, known_at_ms=limit_ms)
    newest = next(figures.newest(only(series), known_at_ms=limit_ms), None)
    if newest is not None:
        check_metrics(wanted, newest.metrics)
    found = standing(view, series.model_name, series.model_version, query.at)
    names = list(dict.fromkeys(wanted)) or _usual(newest.metrics if newest else (), series, found)
    span = chosen_span(query, None if known is None else known[1], provisional=query.provisional)
    curve = figures.curve(series, names, span)
    places, page = _places(curve, query, curve.value[names[0]])
    is_judged = query.maturity == JUDGED or series.maturity == _judged_rung(view, query, series)
    return Metrics(
        series=name_of(series),
        window_start_ms=times(curve.start_ms[places]),
        window_end_ms=times(curve.end_ms[places]),
        complete_at_ms=times(curve.complete_at_ms[places]),
        n=curve.n[places].tolist(),
        n_predictions=curve.n_predictions[places].tolist(),
        final=curve.final[places].tolist(),
        provisional=curve.provisional[places].tolist(),
        metrics=[
            _columns(
                curve,
                places,
                beside_baseline(view, found, series, name, is_judged_rung=is_judged),
            )
            for name in names
        ],
        n_windows=len(curve.start_ms),
        page=page,
    )


def _judged_rung(view: View, query: MetricsQuery, series: Series) -> str | None:
    judged = SeriesQuery(
        at=query.at,
        model=series.model_name,
        version=series.model_version,
        segment=series.segment,
        lane=query.lane,
        window=series.window,
    )
    return chosen_series(view, judged).maturity


def _usual(known: Collection[str], series: Series, found: Standing) -> list[str]:
    if series.lane == "traffic":
        return [name for name in USUAL_OF_TRAFFIC if name in known] or [USUAL_OF_TRAFFIC[0]]
    rules = found.rules_on(series.lane, series.window, series.segment)
    judged = [name for rule in rules for name in watched_metrics(rule) if name in known]
    return judged[:1] or [WATCHED_BY_DEFAULT]


def _places(
    curve: Curve, query: MetricsQuery, values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], Page]:
    """Places of the windows of an answer."""
    places = np.arange(len(values))
    if query.after is not None:
        try:
            after_ms = parse_time(query.after)
        except ValueError as error:
            raise Unanswerable(
                parameter="after",
                needed="page.next of an answer to the same question",
                got=query.after[:200],
                remedy="leave it out to begin anew",
            ) from error
        places = places[curve.start_ms > after_ms]
    if query.points is not None:
        places = places[thinned(values[places], query.points)]
    is_end = len(places) <= query.limit
    shown = places[: query.limit]
    following = None if is_end else format_time(int(curve.start_ms[shown[-1]]))
    return shown, Page(n=len(values), next=following)


def _columns(curve: Curve, places: npt.NDArray[np.int64], beside: BesideBaseline) -> MetricColumns:
    name = beside.metric
    value, low, high = (
        numbers(columns[name][places]) for columns in (curve.value, curve.low, curve.high)
    )
    is_regular = curve.series.kind in _REGULAR
    lengths = (curve.end_ms - curve.start_ms)[places].tolist()
    shares, open_ = curve.covered_share[places].tolist(), curve.provisional[places].tolist()
    placed = [
        beside.place(
            one,
            None if least is None or most is None else (least, most),
            window_ms=length if is_regular else 0,
            covered_share=share,
            provisional=is_open,
        )
        for one, least, most, length, share, is_open in zip(
            value, low, high, lengths, shares, open_, strict=True
        )
    ]
    lines = [each.line for each in placed if each.line is not None]
    has_lines = bool(lines)
    plugin = known_metrics().get(name)
    reasons = curve.null_reasons[name]
    return MetricColumns(
        metric=name,
        unit=unit_of(name),
        higher_is_better=None if plugin is None else plugin.higher_is_better,
        value=value,
        low=low,
        high=high,
        null_reasons={
            f"{at}": reasons.get(place, "not defined")
            for at, place in enumerate(places.tolist())
            if value[at] is None
        },
        baseline=beside.figure,
        usual_low=[each.usual and each.usual[0] for each in placed] if beside.figure else [],
        usual_high=[each.usual and each.usual[1] for each in placed] if beside.figure else [],
        alert_lines=[None if each.line is None else each.line.value for each in placed]
        if has_lines
        else [],
        alert_rule=lines[0].rule if has_lines else None,
        alert_side=lines[0].side if has_lines else None,
        verdict=[each.verdict for each in placed],
    )


def _table(answer: Metrics) -> Table:
    columns = ["window_start", "window_end", "maturity", "n", "n_predictions", "final"]
    columns.append("provisional")
    for each in answer.metrics:
        name = each.metric
        columns += [name, f"{name}_low", f"{name}_high", f"{name}_null_reason", f"{name}_verdict"]
        columns += [f"{name}_baseline", f"{name}_usual_low", f"{name}_usual_high"]
    rows = []
    for at, start in enumerate(answer.window_start_ms):
        row: list[object] = [start, answer.window_end_ms[at], answer.series.maturity]
        row += [answer.n[at], answer.n_predictions[at], answer.final[at], answer.provisional[at]]
        for each in answer.metrics:
            row += [each.value[at], each.low[at], each.high[at], each.null_reasons.get(f"{at}")]
            row += [each.verdict[at], each.baseline and each.baseline.value]
            row += [each.usual_low[at], each.usual_high[at]] if each.baseline else [None, None]
        rows.append(row)
    return columns, rows


ROUTES: Final = (
    Route(path="/metrics", query=MetricsQuery, answer=Metrics, read=metrics, table=_table),
    Route(path="/traffic", query=TrafficQuery, answer=Metrics, read=traffic, table=_table),
)
