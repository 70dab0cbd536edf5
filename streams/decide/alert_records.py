"""Records of `alerts`: one for each change of an episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import xxhash

from driftline.schemas.results import (
    Alert,
    AlertChange,
    LostRows,
    describe_losses,
    key_of,
    to_plain,
)
from driftline.schemas.times import EpochMs
from driftline.streams.decide.alert_lifecycle import AlertState
from driftline.streams.decide.judgement import Judgement
from driftline.streams.decide.rule import Rule
from driftline.streams.decide.wording import listed, moment


def fingerprint(model_name: str, model_version: str, segment: str, rule: str) -> str:
    """Identity of an alert: 16 hexadecimal digits, a hash of model, version, segment and rule.

    Examples
    --------
    >>> fingerprint("churn", "1.4.2", "all", "f1_low")
    '7fbc7a5cddfe7039'
    """
    return xxhash.xxh64_hexdigest(key_of((model_name, model_version, segment, rule)).encode())


def alert_id(fingerprint: str, state: AlertState) -> str:
    """Identity of the open or last episode of an alert."""
    return f"{fingerprint}-{state.starts_at_ms}"


def alert_of(
    series: tuple[str, str, str],
    rule: Rule,
    state: AlertState,
    judged: Judgement,
    change: AlertChange,
    *,
    joined: Sequence[str] = (),
    losses: Sequence[LostRows] = (),
    first: tuple[str, AlertState] | None = None,
) -> Alert:
    """The record of a change.

    Parameters
    ----------
    series
        Model, version and segment.
    state
        The state after the change.
    judged
        The judgement that led to it.
    joined
        Parts of the breach that this episode announces for the first time, or as worse than before,
        after it fired.
    losses
        Lost rows that the judged window may lack: part of the evidence, no reason for silence.
    first
        Rule and state of the episode whose group this one joins.
    """
    model_name, model_version, segment = series
    identity = fingerprint(model_name, model_version, segment, rule.name)
    is_resolved, run = not state.firing, state.runs.get(state.severity)
    if is_resolved:
        tail = f"; the alert had fired on {moment(state.starts_at_ms)}"
    else:
        tail = f"; {run.windows} windows in a row" if run and run.windows > 1 else ""
    details = judged.details
    if joined:
        texts = [judged.parts[name].text for name in joined]
        tail += f"; new since it fired on {moment(state.starts_at_ms)}: {listed(texts)}"
        details = details | {"joined": list(joined)}
    if rule.budget is not None and not is_resolved:
        details = details | {"false_alarms_per_year": rule.budget}
    if first is not None:
        other, since_ms = first[0], first[1].starts_at_ms
        tail += f"; it probably has one cause with {other}, which fired on {moment(since_ms)}"
    if losses:
        tail += f"; the window may lack rows that were lost unread: {describe_losses(losses)}"
        details = details | {"losses": [to_plain(loss) for loss in losses]}
    if judged.usual_losses:
        name = "baseline" if judged.baseline is not None else "reference"
        lost = describe_losses(judged.usual_losses)
        tail += f"; the {name} may lack rows that were lost unread: {lost}"
        details = details | {f"{name}_losses": [to_plain(loss) for loss in judged.usual_losses]}
    return Alert(
        fingerprint=identity,
        alert_id=alert_id(identity, state),
        group_id=state.group_id,
        model_name=model_name,
        model_version=model_version,
        segment=segment,
        rule=rule.name,
        status=_status(state),
        change=change,
        severity=state.severity,
        summary=f"{judged.finding}{tail}.",
        starts_at_ms=EpochMs(state.starts_at_ms),
        at_ms=EpochMs(judged.at_ms),
        ends_at_ms=EpochMs(judged.at_ms) if is_resolved else None,
        metric=judged.metric,
        value=judged.value,
        baseline=judged.baseline,
        threshold=judged.threshold,
        comparator=judged.comparator,
        n=judged.n,
        ci=judged.ci,
        window=judged.window,
        maturity=judged.maturity,
        runbook_url=rule.runbook_url,
        silenced_by=list(state.silenced_by),
        acknowledged=state.acknowledged,
        details=details,
    )


def alert_of_act(
    last: Alert,
    state: AlertState,
    change: AlertChange,
    now_ms: int,
    what: str,
    details: dict[str, Any],
) -> Alert:
    """The record of a change without a new judgement, such as an act of a person.

    Parameters
    ----------
    last
        The record of the newest change that a judgement led to.
    state
        The state after the change.
    now_ms
        Event time that the model has reached.
    what
        What happened, as part of a sentence.
    details
        Added to those of `last`.
    """
    at_ms = EpochMs(max(now_ms, last.at_ms))
    return msgspec.structs.replace(
        last,
        status=_status(state),
        change=change,
        severity=state.severity,
        summary=f"{last.summary.removesuffix('.')}; {what}.",
        at_ms=at_ms,
        ends_at_ms=None if state.firing else at_ms,
        silenced_by=list(state.silenced_by),
        acknowledged=state.acknowledged,
        details=last.details | details,
    )


def _status(state: AlertState) -> Literal["firing", "acknowledged", "silenced", "resolved"]:
    if not state.firing:
        return "resolved"
    if state.silenced_by:
        return "silenced"
    return "firing" if state.acknowledged is None else "acknowledged"
