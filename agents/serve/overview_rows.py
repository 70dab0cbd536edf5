"""The row of one model version in the overview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from driftline.agents.model_status import Judged, judged
from driftline.agents.read_model.drift_order import LEVELS
from driftline.agents.read_model.drift_reads import DriftFilter
from driftline.agents.read_model.figure_reads import (
    Series,
    SeriesFilter,
    Span,
    only,
    window_of_a_day,
)
from driftline.agents.read_model.series_order import rung_order
from driftline.agents.rules_without_rows import rules_without_rows
from driftline.agents.serve.answers.overview import Episode, Line, OverviewRow, Rung
from driftline.agents.serve.beside_baseline import beside_baseline, figure_of
from driftline.agents.serve.columns import numbers, times
from driftline.agents.serve.episodes import by_severity, episodes_at
from driftline.agents.serve.in_force import rule_windows_at
from driftline.agents.serve.kept_rows import Counted, KeptRow
from driftline.agents.serve.route import Moment
from driftline.agents.serve.series_choice import known_at
from driftline.agents.serve.standing import Standing, standing
from driftline.agents.serve.thinning import thinned
from driftline.agents.serve.view import View
from driftline.schemas.times import DAY_MS, EpochMs, parse_duration
from driftline.streams.lanes import ALL

_SPAN_MS: Final = 90 * DAY_MS
_MOST_POINTS: Final = 90


def row_of(view: View, name: str, version: str, at: Moment | None) -> KeptRow:
    """The row of a registered version, or of what has alerts in the place of one."""
    found = standing(view, name, version, at)
    episodes = episodes_at(view.reads, at, model_name=name, model_version=version)
    limit_ms = known_at(at)
    counted = view.reads.figures.predictions(
        model_name=name, model_version=version, known_at_ms=limit_ms
    ).get((name, version))
    what = None
    if found.entry is not None:
        what = judged(view.reads, found.entry, found.rules, found.windows, known_at_ms=limit_ms)
    series = view.reads.figures.series(
        SeriesFilter(model_name=name, model_version=version, segment=ALL)
    )
    counts, rungs = _counted(view, series, limit_ms)
    level, target = _worst_drift(view, name, version, limit_ms)
    records = rule_windows_at(view.reads, at, model_name=name, model_version=version)
    own = None if what is None else _series(what, series)
    until_ms = 0 if what is None else int(what.record.window_end_ms)
    since_ms = max(until_ms, counted[1] if counted else 0) - _SPAN_MS
    row = OverviewRow(
        model_name=name,
        model_version=version,
        stage=None if found.entry is None else found.entry.stage,
        n_predictions=0 if counted is None else counted[0],
        data_until_ms=None if counted is None else EpochMs(counted[1]),
        judged=None
        if what is None or own is None
        else figure_of(
            what.record,
            own,
            beside_baseline(view, found, own, what.metric, is_judged_rung=True),
        ),
        judged_null_reason=_why_not(found, what, series),
        judged_rule=None if what is None or what.rule is None else what.rule.name,
        truths_in=None if what is None else what.record.label_coverage,
        drift_level=level,
        drift_target=target,
        alerts=by_severity(episodes.values()),
        not_judged=rules_without_rows(records).get((name, version), {}),
        line=None if what is None or own is None else _line(view, what, own, limit_ms),
        episodes=[
            Episode(
                alert_id=records[-1].alert_id,
                rule=records[-1].rule,
                severity=records[-1].severity,
                starts_at_ms=records[-1].starts_at_ms,
                ends_at_ms=records[-1].ends_at_ms,
            )
            for records in episodes.values()
            if (ended := records[-1].ends_at_ms) is None or ended > since_ms
        ],
        rungs=rungs,
    )
    return KeptRow(row=row, counted=counts, episodes=episodes)


def _series(what: Judged, series: Sequence[Series]) -> Series | None:
    record = what.record
    return next(
        (
            each
            for each in series
            if (each.lane, each.window, each.maturity)
            == (record.lane, record.window, record.maturity)
        ),
        None,
    )


def _why_not(found: Standing, what: Judged | None, series: Sequence[Series]) -> str | None:
    if what is not None:
        return None
    if found.entry is None:
        return "not a registered model"
    if not any(each.lane == "traffic" for each in series):
        return "no predictions yet"
    return "no complete window with the judged metric yet: truths are still on the way"


def _line(view: View, what: Judged, series: Series, limit_ms: int) -> Line:
    until_ms = int(what.record.window_end_ms)
    span = Span(since_ms=until_ms - _SPAN_MS, known_at_ms=limit_ms)
    curve = view.reads.figures.curve(series, [what.metric], span)
    places = thinned(curve.value[what.metric], _MOST_POINTS)
    value, low, high = (
        numbers(each[what.metric][places]) for each in (curve.value, curve.low, curve.high)
    )
    return Line(
        metric=what.metric,
        maturity=series.maturity,
        window_end_ms=times(curve.end_ms[places]),
        value=value,
        low=low,
        high=high,
        n=curve.n[places].tolist(),
        n_predictions=curve.n_predictions[places].tolist(),
        final=curve.final[places].tolist(),
    )


def _worst_drift(
    view: View, name: str, version: str, limit_ms: int
) -> tuple[str | None, str | None]:
    """The worst level of the newest tests, and its target."""
    tests = view.reads.drift.newest(
        DriftFilter(model_name=name, model_version=version, segment=ALL), known_at_ms=limit_ms
    )
    worst = max(
        tests,
        key=lambda each: (LEVELS.index(each.level), abs(each.effect or 0.0)),
        default=None,
    )
    return (None, None) if worst is None else (worst.level, worst.target)


def _counted(view: View, series: Sequence[Series], limit_ms: int) -> tuple[Counted, list[Rung]]:
    """Counts of the newest whole window of at most a day, and its rungs."""
    figures = view.reads.figures
    traffic = [each for each in series if each.lane == "traffic"]
    window = window_of_a_day(traffic)
    day = next(
        (
            record
            for each in traffic
            if each.window == window
            for record in figures.newest_whole(only(each), known_at_ms=limit_ms)
        ),
        None,
    )
    if day is None or window is None:
        return Counted(), []
    truths = [
        record.n
        for each in series
        if each.lane == "arrivals" and each.window == window
        for record in [figures.at(each, day.window_start_ms)]
        if record is not None and record.complete_at_ms <= limit_ms
    ]
    ladder = sorted(
        (each for each in series if each.lane == "decisions" and each.window == window),
        key=lambda each: rung_order(each.maturity),
    )
    rungs = []
    for each in ladder:
        record = figures.at(each, day.window_start_ms)
        rungs.append(
            Rung(
                rung=str(each.maturity),
                known=record is not None and record.complete_at_ms <= limit_ms,
                due_ms=EpochMs(day.window_end_ms + parse_duration(str(each.maturity))),
            )
        )
    finals = figures.newest_whole(only(ladder[-1]), known_at_ms=limit_ms) if ladder else iter(())
    last = next(finals, None)
    is_final = last is not None and last.final
    counted = Counted(
        window=window,
        end_ms=day.window_end_ms,
        predictions=day.n_predictions,
        truths=sum(truths),
        final_predictions=last.n_predictions if last is not None and is_final else 0,
        never_labelled=last.n_predictions - last.n - sum(last.strays.values())
        if last is not None and is_final
        else 0,
    )
    return counted, rungs
