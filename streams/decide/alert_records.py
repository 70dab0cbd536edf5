"""Records of `alerts`: one for each change of an episode."""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

from driftline.schemas.results import Alert, LostRows, describe_losses, key_of, to_plain
from driftline.schemas.times import EpochMs
from driftline.streams.decide.alert_lifecycle import AlertState, Change
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


def alert_of(
    series: tuple[str, str, str],
    rule: Rule,
    state: AlertState,
    judged: Judgement,
    change: Change,
    *,
    joined: Sequence[str] = (),
    losses: Sequence[LostRows] = (),
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
    """
    model_name, model_version, segment = series
    identity = fingerprint(model_name, model_version, segment, rule.name)
    is_resolved, run = change == "resolved", state.runs.get(state.severity)
    if is_resolved:
        tail = f"; the alert had fired on {moment(state.starts_at_ms)}"
    else:
        tail = f"; {run.windows} windows in a row" if run and run.windows > 1 else ""
    details = judged.details
    if joined:
        texts = [judged.parts[name].text for name in joined]
        tail += f"; new since it fired on {moment(state.starts_at_ms)}: {listed(texts)}"
        details = details | {"joined": list(joined)}
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
        alert_id=f"{identity}-{state.starts_at_ms}",
        model_name=model_name,
        model_version=model_version,
        segment=segment,
        rule=rule.name,
        status="resolved" if is_resolved else "firing",
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
        details=details,
    )
