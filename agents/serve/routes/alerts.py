"""Alert episodes, one of them with its evidence, and recommendations."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final, Literal

from driftline.agents.read_model.figure_reads import Series, SeriesFilter, only
from driftline.agents.read_model.read_model import Reads
from driftline.agents.serve.answers.alerts import (
    AlertEpisode,
    AlertRow,
    Alerts,
    Recommendations,
)
from driftline.agents.serve.answers.figures import Metrics
from driftline.agents.serve.episodes import (
    Episodes,
    by_severity,
    episodes_at,
    is_open,
    row_of,
)
from driftline.agents.serve.pages import one_page
from driftline.agents.serve.route import (
    AtQuery,
    Edge,
    Limit,
    Name,
    Route,
    Table,
    Unanswerable,
    shown,
)
from driftline.agents.serve.routes.metrics import MetricsQuery, series_over_time
from driftline.agents.serve.series_choice import JUDGED, chosen_version
from driftline.agents.serve.spans import SpanQuery, chosen_span
from driftline.agents.serve.view import View
from driftline.agents.serve.what_to_do import what_to_do
from driftline.schemas.actions import Action
from driftline.schemas.alert_commands import AlertEvent
from driftline.schemas.results import Alert, Recommendation
from driftline.schemas.times import EpochMs, parse_duration
from driftline.schemas.topics import ACTIONS, ALERT_EVENTS, RECOMMENDATIONS
from driftline.streams.decide.judgement import SEVERITIES
from driftline.streams.decide.metric_info import known_metrics

Severity = Literal["info", "warning", "error", "critical"]
_AROUND: Final = 30
"""Windows before and after an episode."""


class AlertsQuery(SpanQuery, kw_only=True, frozen=True):
    """Parameters of `/alerts`.

    Attributes
    ----------
    model, version
        Only alerts of this model and version; "driftline-workers" and "driftline-jobs" stand in the
        place of a model.
    status
        "open" leaves out what was resolved; "all" has both.
    severity
        This severity and higher ones.
    rule
        Only this rule.
    segment
        Only this segment.
    since
        Only episodes that were open after this time.
    until
        Only episodes that began at this time or before.
    limit
        Number of entries of one answer, at most.
    after
        `page.next` of the answer before.
    """

    model: Name | None = None
    version: Name | None = None
    status: Literal["open", "resolved", "all"] = "all"
    severity: Severity = "info"
    rule: Name | None = None
    segment: Name | None = None
    limit: Limit = 1_000
    after: Name | None = None


class AlertQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters of `/alert`.

    Attributes
    ----------
    id
        `alert_id` of the episode.
    """

    id: Name


class RecommendationsQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters of `/recommendations`.

    Attributes
    ----------
    model, version
        Only those of this model and version.
    status
        Only those with this status, for example open.
    limit
        Number of entries of one answer, at most.
    after
        `page.next` of the answer before.
    """

    model: Name | None = None
    version: Name | None = None
    status: Name | None = None
    limit: Limit = 1_000
    after: Name | None = None


def alerts(view: View, query: AlertsQuery) -> Alerts:
    """Alert episodes, the newest first."""
    episodes = _of_model(view, query.model, query.version, query.at)
    ends = [records[-1].at_ms for records in episodes.values()]
    span = chosen_span(query, max(ends, default=None))
    least = SEVERITIES.index(query.severity)
    found = [
        records
        for records in episodes.values()
        if SEVERITIES.index(records[-1].severity) >= least
        and query.rule in (None, records[-1].rule)
        and query.segment in (None, records[-1].segment)
        and query.status in ("all", "open" if is_open(records) else "resolved")
        and records[0].starts_at_ms <= span.until_ms
        and ((ended := records[-1].ends_at_ms) is None or ended > span.since_ms)
    ]
    found.sort(key=lambda records: (-records[-1].starts_at_ms, records[-1].alert_id))
    page, place = one_page(found, query, lambda records: records[-1].alert_id)
    return Alerts(
        alerts=[row_of(records) for records in page], n_open=by_severity(found), page=place
    )


def alert(view: View, query: AlertQuery) -> AlertEpisode:
    """One episode: its life, its evidence, what people and responses did, what to do, and the
    judged metric around it.
    """
    episodes = episodes_at(view.reads, query.at)
    records = episodes.get(query.id)
    if records is None:
        raise _no_alert(query.id, episodes)
    newest = records[-1]
    same_version = (newest.model_name, newest.model_version)
    others = [each for each in episodes.values() if each is not records]
    details = next((each.details for each in reversed(records) if each.details), {})
    return AlertEpisode(
        alert=row_of(records),
        records=records,
        details=details,
        budget=details.get("false_alarms_per_year"),
        runbook_url=newest.runbook_url,
        what_to_do=what_to_do(newest, view.config.for_rules(newest.model_name)),
        actions=_actions(view.reads, records, query),
        answers=_answers(view.reads, records, query),
        together=[
            row_of(each)
            for each in others
            if each[-1].group_id == newest.group_id
            and (each[-1].model_name, each[-1].model_version) == same_version
        ],
        earlier=[row_of(each) for each in others if each[-1].fingerprint == newest.fingerprint],
        around=_around(view, records, query),
    )


def recommendations(view: View, query: RecommendationsQuery) -> Recommendations:
    """Recommendations with their evidence, the newest first."""
    if query.model is not None:
        chosen_version(view, query.model, query.version, None)
    found = [
        each
        for each in recommendations_at(view.reads, query.at, query.model, query.version)
        if query.status in (None, each.status)
    ]
    page, place = one_page(found, query, lambda each: each.recommendation_id)
    opened = opened_ms(view.reads, query.model, query.version)
    return Recommendations(
        recommendations=page,
        opened_at_ms=[opened[each.recommendation_id] for each in page],
        page=place,
    )


def recommendations_at(
    reads: Reads, at_ms: int | None, model_name: str | None, model_version: str | None
) -> list[Recommendation]:
    """The newest record of each recommendation up to a time, the newest recommendation first."""
    newest: dict[str, Recommendation] = {}
    for each in reads.records.all(
        RECOMMENDATIONS, Recommendation, model_name=model_name, model_version=model_version
    ):
        if at_ms is None or each.at_ms <= at_ms:
            newest[each.recommendation_id] = each
    opened = opened_ms(reads, model_name, model_version)
    return sorted(
        newest.values(),
        key=lambda each: (-opened[each.recommendation_id], each.recommendation_id),
    )


def opened_ms(
    reads: Reads, model_name: str | None, model_version: str | None
) -> dict[str, EpochMs]:
    """By recommendation, the time of its first record."""
    found: dict[str, EpochMs] = {}
    for each in reads.records.all(
        RECOMMENDATIONS, Recommendation, model_name=model_name, model_version=model_version
    ):
        found.setdefault(each.recommendation_id, each.at_ms)
    return found


def _of_model(view: View, model: str | None, version: str | None, at: int | None) -> Episodes:
    """The episodes of a model and version.

    Raises
    ------
    Unanswerable
        If there is neither such a model nor an alert of it.
    """
    found = episodes_at(view.reads, at, model_name=model, model_version=version)
    if not found and model is not None:
        chosen_version(view, model, version, None)
    return found


def _no_alert(name: str, episodes: Episodes) -> Unanswerable:
    near = get_close_matches(name, episodes, n=3, cutoff=0.0)
    return Unanswerable(
        status=404,
        parameter="id",
        needed=f"the id of one of {len(episodes)} episodes"
        + (f", for example {', '.join(near)}" if near else ""),
        got=shown(name),
        remedy="take an alert_id of /api/alerts",
    )


def _actions(reads: Reads, records: list[Alert], query: AlertQuery) -> list[Action]:
    version = {
        "model_name": records[0].model_name,
        "model_version": records[0].model_version,
    }
    return [
        each
        for each in reads.records.all(ACTIONS, Action, **version)
        if each.alert_id == query.id and (query.at is None or each.at_ms <= query.at)
    ]


def _answers(reads: Reads, records: list[Alert], query: AlertQuery) -> list[AlertEvent]:
    return [
        each
        for each in reads.records.all(ALERT_EVENTS, AlertEvent, model_name=records[0].model_name)
        if each.alert_id == query.id
        and (query.at is None or Edge.of(each.at).before(0) <= query.at)
    ]


def _around(view: View, records: list[Alert], query: AlertQuery) -> Metrics | None:
    """The judged metric in the windows around an episode."""
    judged = next((each for each in records if each.metric is not None), None)
    if judged is None or judged.window is None or judged.metric not in known_metrics():
        return None
    series = _series(view.reads, judged)
    if series is None:
        return None
    step_ms = parse_duration(series.window.partition("/")[2] or series.window)
    until_ms = records[-1].ends_at_ms or records[-1].at_ms
    asked = MetricsQuery(
        at=query.at,
        model=series.model_name,
        version=series.model_version,
        segment=series.segment,
        window=series.window,
        maturity=series.maturity or JUDGED,
        since=Edge(at_ms=records[0].starts_at_ms - _AROUND * step_ms),
        until=Edge(at_ms=until_ms + _AROUND * step_ms),
    )
    return series_over_time(view, asked, series, [judged.metric])


def _series(reads: Reads, judged: Alert) -> Series | None:
    """The series of which a rule judged a metric: in a lane that has it, at its rung."""
    found = reads.figures.series(
        SeriesFilter(
            model_name=judged.model_name,
            model_version=judged.model_version,
            segment=judged.segment,
            window=judged.window,
        )
    )
    fitting = [
        each
        for each in found
        if each.kind in ("tumbling", "sliding")
        and each.maturity == judged.maturity
        and any(judged.metric in record.metrics for record in reads.figures.newest(only(each)))
    ]
    return fitting[0] if fitting else None


def _alerts_table(answer: Alerts) -> Table:
    return _rows(answer.alerts)


def _alert_table(answer: AlertEpisode) -> Table:
    columns = (
        "at change status severity metric value low high baseline threshold n window maturity"
        " summary"
    ).split()
    rows: list[list[object]] = [
        [
            each.at_ms,
            each.change,
            each.status,
            each.severity,
            each.metric,
            each.value,
            *(each.ci or (None, None)),
            each.baseline,
            each.threshold,
            each.n,
            each.window,
            each.maturity,
            each.summary,
        ]
        for each in answer.records
    ]
    return columns, rows


def _rows(rows: list[AlertRow]) -> Table:
    names = [name for name in AlertRow.__struct_fields__ if name not in ("acknowledged",)]
    return (
        [name.removesuffix("_ms") for name in names],
        [[_cell(getattr(row, name)) for name in names] for row in rows],
    )


def _cell(value: object) -> object:
    return " ".join(value) if isinstance(value, list) else value


def _recommendations_table(answer: Recommendations) -> Table:
    columns = (
        "recommendation_id model_name model_version action status at expires_at threshold metric"
        " from to low high reason"
    ).split()
    rows: list[list[object]] = [
        [
            each.recommendation_id,
            each.model_name,
            each.model_version,
            each.action,
            each.status,
            each.at_ms,
            each.expires_at_ms,
            each.params.get("threshold"),
            each.expected.metric,
            each.expected.from_,
            each.expected.to,
            *(each.expected.ci or (None, None)),
            each.reason,
        ]
        for each in answer.recommendations
    ]
    return columns, rows


ROUTES: Final = (
    Route(path="/alerts", query=AlertsQuery, answer=Alerts, read=alerts, table=_alerts_table),
    Route(path="/alert", query=AlertQuery, answer=AlertEpisode, read=alert, table=_alert_table),
    Route(
        path="/recommendations",
        query=RecommendationsQuery,
        answer=Recommendations,
        read=recommendations,
        table=_recommendations_table,
    ),
)
