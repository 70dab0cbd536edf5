"""One window as a whole, its segments, and two windows side by side."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from driftline.agents.figure_difference import difference, direction
from driftline.agents.model_status import WATCHED_BY_DEFAULT
from driftline.agents.read_model.figure_reads import Series, segments_of
from driftline.agents.read_model.series_order import usual_metrics
from driftline.agents.serve.answers.figures import (
    Comparison,
    Figure,
    MetricDifference,
    SegmentFigure,
    Segments,
    Window,
)
from driftline.agents.serve.beside_baseline import beside_baseline, figure_of, null_reason
from driftline.agents.serve.columns import check_metrics
from driftline.agents.serve.pages import one_page
from driftline.agents.serve.route import Limit, Moment, Name, Route, Table, Unanswerable
from driftline.agents.serve.series_choice import (
    WindowQuery,
    chosen_window,
    known_at,
    of_rung,
    rungs_of,
)
from driftline.agents.serve.standing import standing
from driftline.agents.serve.view import View
from driftline.schemas.results import WindowFigures
from driftline.streams.decide.metric_info import higher_is_better

Rows = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_NO_BASELINES: Final = (
    "baselines are recorded for all rows, not for segments; compare with the figure of all rows"
)


class SegmentsQuery(WindowQuery, kw_only=True, frozen=True):
    """Parameters of `/segments`.

    Attributes
    ----------
    segment
        Leave it out: the answer has all segments.
    metric
        The metric; by default the one that is judged.
    min_rows
        Segments with fewer labelled rows (of traffic: predictions) are counted, not listed.
    dimension
        Only segments of this dimension.
    limit
        Number of entries of one answer, at most.
    after
        `page.next` of the answer before.
    """

    metric: Name | None = None
    min_rows: Rows = 100
    dimension: Name | None = None
    limit: Limit = 1_000
    after: Name | None = None


class CompareQuery(WindowQuery, kw_only=True, frozen=True):
    """Parameters of `/compare`.

    Attributes
    ----------
    other_version
        Version of the second window; by default the same.
    other_start
        Begin of the second window; by default that of the first one, or the window before it where
        the versions are the same.
    metric
        Metrics; by default accuracy, precision, recall, f1 and roc_auc, or those of traffic.
    """

    other_version: Name | None = None
    other_start: Moment | None = None
    metric: tuple[Name, ...] = ()


def window(view: View, query: WindowQuery) -> Window:
    """One window as a whole: its record with the confusion matrix, and each metric beside baseline
    and usual range.
    """
    rungs = rungs_of(view, query)
    series = of_rung(view, query, rungs)
    record = chosen_window(view, query, series)
    limit_ms = known_at(query.at)
    known = [
        each.maturity
        for each in rungs
        if each.maturity is not None
        and (found := view.reads.figures.at(each, record.window_start_ms)) is not None
        and found.complete_at_ms <= limit_ms
    ]
    return Window(record=record, figures=_figures(view, query, series, record), rungs=known)


def segments(view: View, query: SegmentsQuery) -> Segments:
    """A metric in all segments of a window, the surest weakness first, beside that of all rows."""
    if query.segment != "all":
        raise Unanswerable(
            parameter="segment",
            needed="no segment: the answer has all of them",
            got=query.segment[:200],
            remedy="leave it out, or name a dimension",
        )
    series = of_rung(view, query, rungs_of(view, query))
    record = chosen_window(view, query, series)
    metric = _metric(view, query, series, record)
    found = standing(view, series.model_name, series.model_version, query.at)
    beside = beside_baseline(view, found, series, metric, is_judged_rung=True)
    others = _of_segments(view, query, series, record)
    listed = [each for each in others if _rows(each) >= query.min_rows and metric in each.metrics]
    listed.sort(key=lambda each: _near_end(each, metric))
    shown, page = one_page(listed, query, lambda each: each.segment)
    return Segments(
        all=figure_of(record, series, beside),
        segments=[_segment(each, metric) for each in shown],
        n_small=len(others) - len(listed),
        baseline_note=_NO_BASELINES,
        page=page,
    )


def compare(view: View, query: CompareQuery) -> Comparison:
    """Two versions in one window, or two windows of a version, with the difference of each metric
    and its 95 % interval as of independent rows.
    """
    rungs = rungs_of(view, query)
    series = of_rung(view, query, rungs)
    first = chosen_window(view, query, series)
    version = query.other_version or series.model_version
    other = msgspec.structs.replace(
        query, version=version, window=series.window, maturity=series.maturity or query.maturity
    )
    other_series = of_rung(view, other, rungs_of(view, other))
    second = chosen_window(view, _with_start(view, query, other, series, first), other_series)
    known = {*first.metrics, *second.metrics}
    check_metrics(query.metric, known)
    names = query.metric or [name for name in usual_metrics(query.lane) if name in known]
    return Comparison(
        a=first,
        b=second,
        same_window=first.window_start_ms == second.window_start_ms,
        metrics=[_difference(name, first, second) for name in names],
    )


def _with_start(
    view: View, query: CompareQuery, other: CompareQuery, series: Series, first: WindowFigures
) -> CompareQuery:
    """The question about the second window."""
    start = query.other_start
    if start is None and other.version != series.model_version:
        start = Moment(first.window_start_ms)
    elif start is None:
        earlier = [at for at in view.reads.figures.starts(series) if at < first.window_start_ms]
        if not earlier:
            raise Unanswerable(
                status=404,
                parameter="other_start",
                needed="a second window, or a second version",
                got=None,
                remedy="name other_start or other_version: there is no window before this one",
            )
        start = Moment(earlier[-1])
    return msgspec.structs.replace(other, start=start)


def _difference(metric: str, a: WindowFigures, b: WindowFigures) -> MetricDifference:
    found = difference(metric, (a.metrics, a.ci), (b.metrics, b.ci))
    none = (None, None)
    (a_low, a_high), (b_low, b_high) = a.ci.get(metric, none), b.ci.get(metric, none)
    return MetricDifference(
        metric=metric,
        a=found.a,
        a_low=a_low,
        a_high=a_high,
        a_null_reason=null_reason(a, metric),
        b=found.b,
        b_low=b_low,
        b_high=b_high,
        b_null_reason=null_reason(b, metric),
        difference=found.difference,
        low=found.low,
        high=found.high,
        direction=direction(found),
    )


def _figures(view: View, query: WindowQuery, series: Series, record: WindowFigures) -> list[Figure]:
    found = standing(view, series.model_name, series.model_version, query.at)
    return [
        figure_of(
            record,
            series,
            beside_baseline(view, found, series, metric, is_judged_rung=True),
        )
        for metric in record.metrics
    ]


def _metric(view: View, query: SegmentsQuery, series: Series, record: WindowFigures) -> str:
    if query.metric is not None:
        check_metrics([query.metric], record.metrics)
        return query.metric
    usual = (WATCHED_BY_DEFAULT, *usual_metrics(series.lane), *record.metrics)
    return next((name for name in usual if name in record.metrics), WATCHED_BY_DEFAULT)


def _of_segments(
    view: View, query: SegmentsQuery, series: Series, whole: WindowFigures
) -> list[WindowFigures]:
    limit_ms = known_at(query.at)
    records = segments_of(view.reads.figures, whole)
    return [
        record
        for record in records
        if record.complete_at_ms <= limit_ms
        and query.dimension in (None, record.segment.partition("=")[0])
    ]


def _rows(record: WindowFigures) -> int:
    return record.n_predictions if record.lane == "traffic" else record.n


def _near_end(record: WindowFigures, metric: str) -> tuple[bool, float, str]:
    """Sort key: the end of the interval that is nearest to the good values, the worst one first."""
    value = record.metrics[metric]
    if value is None:
        return True, 0.0, record.segment
    better = higher_is_better(metric)
    low, high = record.ci.get(metric, (value, value))
    return False, high if better else -low, record.segment


def _segment(record: WindowFigures, metric: str) -> SegmentFigure:
    low, high = record.ci.get(metric, (None, None))
    return SegmentFigure(
        segment=record.segment,
        value=record.metrics[metric],
        low=low,
        high=high,
        null_reason=null_reason(record, metric),
        n=record.n,
        n_predictions=record.n_predictions,
    )


def _window_table(answer: Window) -> Table:
    columns = (
        "metric value low high null_reason n n_predictions baseline usual_low usual_high verdict"
    ).split()
    rows: list[list[object]] = [
        [
            each.metric,
            each.value,
            each.low,
            each.high,
            each.null_reason,
            each.n,
            each.n_predictions,
            each.baseline and each.baseline.value,
            each.usual_low,
            each.usual_high,
            each.verdict,
        ]
        for each in answer.figures
    ]
    return columns, rows


def _segments_table(answer: Segments) -> Table:
    columns = "segment value low high null_reason n n_predictions".split()
    rows: list[list[object]] = [
        [
            each.segment,
            each.value,
            each.low,
            each.high,
            each.null_reason,
            each.n,
            each.n_predictions,
        ]
        for each in answer.segments
    ]
    return columns, rows


def _compare_table(answer: Comparison) -> Table:
    names = list(MetricDifference.__struct_fields__)
    return names, [[getattr(each, name) for name in names] for each in answer.metrics]


ROUTES: Final = (
    Route(path="/window", query=WindowQuery, answer=Window, read=window, table=_window_table),
    Route(
        path="/segments", query=SegmentsQuery, answer=Segments, read=segments, table=_segments_table
    ),
    Route(
        path="/compare", query=CompareQuery, answer=Comparison, read=compare, table=_compare_table
    ),
)
