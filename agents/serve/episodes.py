"""Alert episodes: their records, and the row that an answer has of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driftline.agents.read_model.read_model import Reads
from driftline.agents.serve.answers.alerts import AlertRow
from driftline.schemas.results import Alert
from driftline.schemas.topics import ALERTS
from driftline.streams.decide.judgement import SEVERITIES

Episodes = dict[str, list[Alert]]
"""By id of an episode, its records in order."""


def episodes_at(
    reads: Reads,
    at_ms: int | None,
    *,
    model_name: str | None = None,
    model_version: str | None = None,
) -> Episodes:
    """The episodes with what was known of them at a time; None for now."""
    found: Episodes = {}
    for record in reads.records.all(
        ALERTS, Alert, model_name=model_name, model_version=model_version
    ):
        if at_ms is None or record.at_ms <= at_ms:
            found.setdefault(record.alert_id, []).append(record)
    return found


def is_open(records: Sequence[Alert]) -> bool:
    """Whether an episode has not ended."""
    return records[-1].status != "resolved"


def worst_first(records: Sequence[Alert]) -> tuple[int, int, str]:
    """Sort key: the most severe first, then the longest."""
    newest = records[-1]
    return -SEVERITIES.index(newest.severity), newest.starts_at_ms, newest.alert_id


def by_severity(episodes: Iterable[Sequence[Alert]]) -> dict[str, int]:
    """Number of open episodes by severity, the most severe first."""
    counts = dict.fromkeys(reversed(SEVERITIES), 0)
    for records in episodes:
        if is_open(records):
            counts[records[-1].severity] += 1
    return {severity: count for severity, count in counts.items() if count}


def row_of(records: Sequence[Alert]) -> AlertRow:
    """The newest state of an episode."""
    newest = records[-1]
    judged = next((each for each in reversed(records) if each.status != "resolved"), newest)
    with_value = next((each for each in reversed(records) if each.value is not None), newest)
    limits = with_value.ci or (None, None)
    return AlertRow(
        alert_id=newest.alert_id,
        fingerprint=newest.fingerprint,
        group_id=newest.group_id,
        model_name=newest.model_name,
        model_version=newest.model_version,
        segment=newest.segment,
        rule=newest.rule,
        status=newest.status,
        severity=newest.severity,
        why=judged.summary if judged.status != "resolved" else None,
        resolution=newest.summary if newest.status == "resolved" else None,
        starts_at_ms=newest.starts_at_ms,
        at_ms=newest.at_ms,
        ends_at_ms=newest.ends_at_ms,
        metric=with_value.metric or newest.metric,
        value=with_value.value,
        first_value=next((each.value for each in records if each.value is not None), None),
        low=limits[0],
        high=limits[1],
        baseline=with_value.baseline,
        threshold=with_value.threshold,
        comparator=with_value.comparator,
        n=with_value.n,
        window=newest.window,
        maturity=newest.maturity,
        silenced_by=newest.silenced_by,
        acknowledged=newest.acknowledged,
    )
