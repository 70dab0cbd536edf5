"""All models at a glance."""

from __future__ import annotations

from typing import Final

from driftline.agents.serve.answers.overview import Counters, Overview, OverviewRow
from driftline.agents.serve.answers.pipeline import SourceStatus
from driftline.agents.serve.episodes import by_severity, is_open, row_of, worst_first
from driftline.agents.serve.in_force import entries_at
from driftline.agents.serve.kept_rows import KeptRow
from driftline.agents.serve.overview_rows import row_of as overview_row
from driftline.agents.serve.route import AtQuery, Route, Table
from driftline.agents.serve.routes.alerts import recommendations_at
from driftline.agents.serve.view import View
from driftline.schemas.results import Alert
from driftline.schemas.times import EpochMs
from driftline.schemas.topics import ALERTS
from driftline.streams.decide.judgement import SEVERITIES

_MOST_ALERTS: Final = 50


class OverviewQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters of `/overview`."""


def overview(view: View, query: OverviewQuery) -> Overview:
    """All models at a glance: a row for each version, what needs attention first, open alerts, the
    worst first, proposals, and what the pipeline counted.
    """
    kept = _kept(view, query)
    episodes = [records for each in kept for records in each.episodes.values()]
    still_open = sorted((each for each in episodes if is_open(each)), key=worst_first)
    ended = [int(each[-1].ends_at_ms or each[-1].at_ms) for each in episodes if not is_open(each)]
    frontiers = [int(each.row.data_until_ms) for each in kept if each.row.data_until_ms]
    last_ms = None if still_open or not ended else EpochMs(max(ended))
    return Overview(
        frontier_ms=EpochMs(max(frontiers)) if frontiers else None,
        rows=sorted((each.row for each in kept), key=_attention),
        alerts=[row_of(records) for records in still_open[:_MOST_ALERTS]],
        n_alerts=len(still_open),
        n_open=by_severity(still_open),
        last_alert_ms=last_ms,
        proposals=[
            each
            for each in recommendations_at(view.reads, query.at, None, None)
            if each.status == "open"
        ],
        counters=_counters(view, kept),
        source=_status(view),
    )


def _status(view: View) -> SourceStatus:
    source = view.server.follower.source()
    return SourceStatus(
        place=source.place,
        state=source.state,
        since_ms=source.since_ms,
        problem=source.problem,
    )


def _kept(view: View, query: OverviewQuery) -> list[KeptRow]:
    """What the overview needs of each version."""
    rows = view.server.rows
    versions = {(each.model_name, each.model_version) for each in entries_at(view.reads, query.at)}
    versions |= {
        (record.model_name, record.model_version)
        for record in view.reads.records.latest(ALERTS, Alert)
        if query.at is None or record.starts_at_ms <= query.at
    }
    found = []
    with rows.computing:
        for version in sorted(versions):
            row = rows.get(version) if query.at is None else None
            if row is None:
                row = overview_row(view, *version, query.at)
                if query.at is None:
                    rows.keep(version, row, view.epoch)
            found.append(row)
    return [each for each in found if each.row.stage is not None or each.row.alerts]


def _attention(row: OverviewRow) -> tuple[object, ...]:
    """Sort key: what needs attention first."""
    worst = max((SEVERITIES.index(severity) for severity in row.alerts), default=-1)
    is_archived, in_production = row.stage == "archived", row.stage == "production"
    return (
        -worst,
        not row.not_judged or is_archived,
        is_archived,
        not in_production,
        row.model_name,
        row.model_version,
    )


def _counters(view: View, kept: list[KeptRow]) -> Counters:
    counted = [each.counted for each in kept if each.counted.end_ms]
    end_ms = max((each.end_ms for each in counted), default=None)
    newest = [each for each in counted if each.end_ms == end_ms]
    letters = view.server.letters
    return Counters(
        window=newest[0].window if newest else None,
        window_end_ms=None if end_ms is None else EpochMs(end_ms),
        predictions=sum(each.predictions for each in newest),
        truths=sum(each.truths for each in newest),
        final_predictions=sum(each.final_predictions for each in counted),
        never_labelled=sum(each.never_labelled for each in counted),
        rejected=None if letters is None else sum(each.rows for each in letters.listed()),
    )


def _table(answer: Overview) -> Table:
    columns = (
        "model_name model_version stage metric value low high null_reason n n_predictions window"
        " maturity window_end final baseline usual_low usual_high verdict truths_in drift_level"
        " open_alerts"
    ).split()
    rows: list[list[object]] = []
    for row in answer.rows:
        cells: list[object] = [row.model_name, row.model_version, row.stage]
        figure = row.judged
        if figure is None:
            cells += [None, None, None, None, row.judged_null_reason, *[None] * 10]
        else:
            cells += [figure.metric, figure.value, figure.low, figure.high, figure.null_reason]
            cells += [figure.n, figure.n_predictions, figure.series.window]
            cells += [figure.series.maturity, figure.window_end_ms, figure.final]
            cells += [figure.baseline and figure.baseline.value]
            cells += [figure.usual_low, figure.usual_high, figure.verdict]
        rows.append([*cells, row.truths_in, row.drift_level, sum(row.alerts.values())])
    return columns, rows


ROUTES: Final = (
    Route(
        path="/overview",
        query=OverviewQuery,
        answer=Overview,
        read=overview,
        table=_table,
        is_timeless=False,
    ),
)
