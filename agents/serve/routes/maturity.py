"""How figures ripen: windows by rung, and early figures against the final ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from driftline.agents.model_status import WATCHED_BY_DEFAULT
from driftline.agents.read_model.figure_reads import Curve, Series, SeriesFilter, Span, only
from driftline.agents.serve.answers.maturity import (
    Early,
    EarlyRung,
    Ripening,
    RipeningCell,
    RipeningRow,
)
from driftline.agents.serve.beside_baseline import BesideBaseline, beside_baseline
from driftline.agents.serve.columns import check_metrics, numbers, times
from driftline.agents.serve.pages import one_page
from driftline.agents.serve.route import Limit, Name, Route, Table
from driftline.agents.serve.series_choice import (
    SeriesQuery,
    known_at,
    name_of,
    no_ladder,
    rungs_of,
)
from driftline.agents.serve.spans import SeriesSpanQuery, chosen_span
from driftline.agents.serve.standing import standing
from driftline.agents.serve.view import View
from driftline.schemas.times import EpochMs, format_time, parse_duration
from driftline.streams.lanes import ALL

HELD: Final = 0.9
"""Share of the windows in which an early interval has to hold the final value."""
_NEWEST: Final = 30
_TAILS: Final = (0.05, 0.95)


class RipeningQuery(SeriesSpanQuery, kw_only=True, frozen=True):
    """Parameters of `/ripening`.

    Attributes
    ----------
    metric
        The metric; by default balanced_accuracy.
    maturity
        Leave it out: the answer has all rungs.
    since
        Only windows that end after this time; by default the newest 30.
    limit
        Number of entries of one answer, at most.
    after
        `page.next` of the answer before.
    """

    metric: Name = WATCHED_BY_DEFAULT
    limit: Limit = _NEWEST
    after: Name | None = None


class EarlyQuery(SeriesQuery, kw_only=True, frozen=True):
    """Parameters of `/early`.

    Attributes
    ----------
    metric
        The metric; by default balanced_accuracy.
    maturity
        Leave it out: the answer has all rungs.
    windows
        How many of the newest final windows are compared.
    """

    metric: Name = WATCHED_BY_DEFAULT
    windows: Annotated[int, Meta(ge=1, le=10_000)] = 90


def ripening(view: View, query: RipeningQuery) -> Ripening:
    """Windows by rung, the newest first: each figure with its difference to the baseline of the
    same rung, and when one that is not there yet comes.
    """
    rungs = _ladder(view, query)
    last = rungs[-1]
    check_metrics([query.metric], _known_metrics(view, rungs))
    found = standing(view, last.model_name, last.model_version, query.at)
    beside = [
        beside_baseline(view, found, each, query.metric, is_judged_rung=False) for each in rungs
    ]
    version = SeriesFilter(
        model_name=last.model_name, model_version=last.model_version, segment=ALL
    )
    frontier_ms = view.reads.figures.frontier(version, known_at_ms=known_at(query.at))
    span = chosen_span(query, frontier_ms)
    closed = _closed(view, last, span)
    windows = {
        start: end
        for each in [closed, *(view.reads.figures.curve(each, [], span) for each in rungs)]
        for start, end in zip(each.start_ms.tolist(), each.end_ms.tolist(), strict=True)
    }
    newest_first = sorted(windows.items(), reverse=True)
    shown, page = one_page(newest_first, query, lambda each: format_time(each[0]))
    predictions = dict(zip(closed.start_ms.tolist(), closed.n_predictions.tolist(), strict=True))
    # Only the records that are shown are decoded.
    span = _around(span, [end for _, end in shown])
    curves = [view.reads.figures.curve(each, [query.metric], span) for each in rungs]
    places = [{start: at for at, start in enumerate(each.start_ms.tolist())} for each in curves]
    rows = [
        RipeningRow(
            window_start_ms=EpochMs(start),
            window_end_ms=EpochMs(end),
            cells=[
                _cell(curve, place.get(start), one, end, frontier_ms, predictions.get(start, 0))
                for curve, place, one in zip(curves, places, beside, strict=True)
            ],
        )
        for start, end in shown
    ]
    return Ripening(
        series=name_of(last),
        metric=query.metric,
        rungs=[str(each.maturity) for each in rungs],
        baselines=[each.figure for each in beside],
        frontier_ms=None if frontier_ms is None else EpochMs(frontier_ms),
        rows=rows,
        page=page,
    )


def early(view: View, query: EarlyQuery) -> Early:
    """Per rung: the early figures less the final ones over the newest final windows, and in how
    many of them the final figure lay within the early interval.
    """
    rungs = _ladder(view, query)
    last = rungs[-1]
    check_metrics([query.metric], _known_metrics(view, rungs))
    span = Span(known_at_ms=known_at(query.at))
    listed = view.reads.figures.curve(last, [], span)
    span = _around(span, listed.end_ms[listed.final][-query.windows :].tolist())
    final = view.reads.figures.curve(last, [query.metric], span)
    usable = np.flatnonzero(final.final & ~np.isnan(final.value[query.metric]))
    of_rungs = [
        _early_rung(
            view.reads.figures.curve(each, [query.metric], span), final, usable, query.metric
        )
        for each in rungs[:-1]
    ]
    holds_from = None
    for each in reversed(of_rungs):
        if each.held_share is None or each.held_share < HELD:
            break
        holds_from = each.rung
    return Early(
        series=name_of(last),
        metric=query.metric,
        window_end_ms=times(final.end_ms[usable]),
        rungs=of_rungs,
        holds_from=holds_from,
        held_share=HELD,
    )


def _around(span: Span, ends_ms: Sequence[int]) -> Span:
    """A span with the windows that end at these times, and not many others."""
    if not ends_ms:
        return span
    return Span(since_ms=min(ends_ms) - 1, until_ms=max(ends_ms), known_at_ms=span.known_at_ms)


def _ladder(view: View, query: SeriesQuery) -> list[Series]:
    """The series at all rungs.

    Raises
    ------
    Unanswerable
        If the lane has no ladder.
    """
    rungs = rungs_of(view, query)
    if rungs[-1].maturity is None:
        raise no_ladder(query.lane)
    return rungs


def _known_metrics(view: View, rungs: Sequence[Series]) -> set[str]:
    return {
        name
        for each in rungs
        for record in view.reads.figures.newest(only(each))
        for name in record.metrics
    }


def _closed(view: View, series: Series, span: Span) -> Curve:
    """The windows of traffic that are closed: those whose truths may still be on the way."""
    traffic = Series(
        model_name=series.model_name,
        model_version=series.model_version,
        segment=series.segment,
        lane="traffic",
        window=series.window,
        maturity=None,
    )
    return view.reads.figures.curve(traffic, [], span)


def _cell(
    curve: Curve,
    place: int | None,
    beside: BesideBaseline,
    end_ms: int,
    frontier_ms: int | None,
    n_predictions: int,
) -> RipeningCell:
    due_ms = end_ms + parse_duration(str(curve.series.maturity))
    if place is None:
        return RipeningCell(
            state="due" if frontier_ms is None or frontier_ms < due_ms else "absent",
            due_ms=EpochMs(due_ms),
            value=None,
            low=None,
            high=None,
            null_reason="its truths are still on the way",
            n=0,
            n_predictions=n_predictions,
            final=False,
            difference=None,
            verdict="no_value",
        )
    metric = beside.metric
    value, low, high = (
        numbers(each[metric][place : place + 1])[0] for each in (curve.value, curve.low, curve.high)
    )
    placed = beside.place(
        value,
        None if low is None or high is None else (low, high),
        window_ms=int(curve.end_ms[place] - curve.start_ms[place]),
        covered_share=float(curve.covered_share[place]),
        provisional=bool(curve.provisional[place]),
    )
    usual = beside.figure
    return RipeningCell(
        state="known",
        due_ms=EpochMs(int(curve.complete_at_ms[place])),
        value=value,
        low=low,
        high=high,
        null_reason=None
        if value is not None
        else curve.null_reasons[metric].get(place, "not defined"),
        n=int(curve.n[place]),
        n_predictions=int(curve.n_predictions[place]),
        final=bool(curve.final[place]),
        difference=None if usual is None or value is None else round(value - usual.value, 6),
        verdict=placed.verdict,
    )


def _early_rung(
    curve: Curve, final: Curve, usable: npt.NDArray[np.int64], metric: str
) -> EarlyRung:
    places = {start: at for at, start in enumerate(curve.start_ms.tolist())}
    pairs = [
        (places[start], at)
        for at, start in zip(usable.tolist(), final.start_ms[usable].tolist(), strict=True)
        if start in places and not np.isnan(curve.value[metric][places[start]])
    ]
    one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    late = final.value[metric][other]
    differences = curve.value[metric][one] - late
    held = int(((curve.low[metric][one] <= late) & (late <= curve.high[metric][one])).sum())
    count, labelled = len(pairs), int(final.n[other].sum())
    low, high = np.quantile(differences, _TAILS).round(6).tolist() if count else (None, None)
    return EarlyRung(
        rung=str(curve.series.maturity),
        n_windows=count,
        differences=differences.round(6).tolist(),
        mean=round(float(differences.mean()), 6) if count else None,
        low=low,
        high=high,
        n_held=held,
        held_share=held / count if count else None,
        coverage=int(curve.n[one].sum()) / labelled if labelled else None,
    )


def _ripening_table(answer: Ripening) -> Table:
    columns = (
        "window_start window_end maturity state due value low high null_reason n n_predictions"
        " final difference verdict"
    ).split()
    rows: list[list[object]] = [
        [
            row.window_start_ms,
            row.window_end_ms,
            rung,
            cell.state,
            cell.due_ms,
            cell.value,
            cell.low,
            cell.high,
            cell.null_reason,
            cell.n,
            cell.n_predictions,
            cell.final,
            cell.difference,
            cell.verdict,
        ]
        for row in answer.rows
        for rung, cell in zip(answer.rungs, row.cells, strict=True)
    ]
    return columns, rows


def _early_table(answer: Early) -> Table:
    columns = "rung n_windows mean low high n_held held_share coverage".split()
    return columns, [[getattr(each, name) for name in columns] for each in answer.rungs]


ROUTES: Final = (
    Route(
        path="/ripening",
        query=RipeningQuery,
        answer=Ripening,
        read=ripening,
        table=_ripening_table,
    ),
    Route(path="/early", query=EarlyQuery, answer=Early, read=early, table=_early_table),
)
