"""The records on `alerts`: one for each change of an episode."""

from __future__ import annotations

import xxhash

from driftline.schemas.results import Alert, key_of
from driftline.schemas.times import EpochMs
from driftline.streams.decide.alert_lifecycle import Change, Life
from driftline.streams.decide.judgement import Judgement
from driftline.streams.decide.rule import Rule
from driftline.streams.decide.wording import moment


def fingerprint(model_name: str, model_version: str, segment: str, rule: str) -> str:
    """The same 16 hexadecimal digits for the same model, version, segment and rule, always.

    Examples
    --------
    >>> fingerprint("churn", "1.4.2", "all", "f1_low") == fingerprint("churn", "1.4.2", "plan=pro", "f1_low")
    False
    """
    return xxhash.xxh64_hexdigest(key_of((model_name, model_version, segment, rule)).encode())


def alert_of(
    series: tuple[str, str, str], rule: Rule, life: Life, judged: Judgement, change: Change
) -> Alert:
    """The record that tells a change.

    Parameters
    ----------
    series
        Model, version and segment.
    life
        After the change.
    """
    model_name, model_version, segment = series
    known_by = fingerprint(model_name, model_version, segment, rule.name)
    resolved, run = change == "resolved", life.runs.get(life.severity)
    if resolved:
        tail = f"; the alert had fired on {moment(life.starts_at_ms)}"
    else:
        tail = f"; {run.windows} windows in a row" if run and run.windows > 1 else ""
    return Alert(
        fingerprint=known_by,
        alert_id=f"{known_by}-{life.starts_at_ms}",
        model_name=model_name,
        model_version=model_version,
        segment=segment,
        rule=rule.name,
        status="resolved" if resolved else "firing",
        severity=life.severity,
        summary=f"{judged.said}{tail}.",
        starts_at_ms=EpochMs(life.starts_at_ms),
        at_ms=EpochMs(judged.at_ms),
        ends_at_ms=EpochMs(judged.at_ms) if resolved else None,
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
        details=judged.details,
    )
