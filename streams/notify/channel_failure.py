"""A channel that takes nothing is an alert of its own, which the other channels are told."""

from __future__ import annotations

import msgspec

from driftline.schemas.results import Alert
from driftline.schemas.times import MINUTE_MS, EpochMs
from driftline.streams.decide.alert_records import fingerprint
from driftline.streams.notify.news import NOTIFIER
from driftline.streams.notify.stored import Memory

RULE = "channel_failed"
VERSION = "-"
FAILS_AFTER_MS = 10 * MINUTE_MS


def after_failure(
    memory: Memory, channel: str, error: str, *, is_permanent: bool, now_ms: int
) -> Alert | None:
    """The alert that a failed attempt raises: the first one that is permanent, or that comes 10
    minutes or more after the first failure since the last success.
    """
    state = memory.channel(channel)
    if state.failing_since_ms is None:
        state.failing_since_ms = now_ms
    lasts_ms = now_ms - state.failing_since_ms
    if state.alert is not None or not (is_permanent or lasts_ms >= FAILS_AFTER_MS):
        return None
    segment = f"channel={channel}"
    identity = fingerprint(NOTIFIER, VERSION, segment, RULE)
    what = "refuses notifications" if is_permanent else "has taken no notification for 10 minutes"
    state.alert = Alert(
        fingerprint=identity,
        alert_id=f"{identity}-{now_ms}",
        group_id=f"{identity}-{now_ms}",
        model_name=NOTIFIER,
        model_version=VERSION,
        segment=segment,
        rule=RULE,
        status="firing",
        change="firing",
        severity="error",
        summary=f"The channel {channel} {what}: {error}.",
        starts_at_ms=EpochMs(now_ms),
        at_ms=EpochMs(now_ms),
        details={"channel": channel, "failing_since_ms": state.failing_since_ms},
    )
    return state.alert


def after_success(memory: Memory, channel: str, now_ms: int) -> Alert | None:
    """The end of the alert, if it was raised."""
    state = memory.channels.get(channel)
    if state is None or (state.failing_since_ms is None and not state.not_before_ms):
        return None
    state = memory.channel(channel)
    state.failing_since_ms, state.not_before_ms = None, 0
    if state.alert is None:
        return None
    ended = ended_alert(state.alert, f"The channel {channel} takes notifications again.", now_ms)
    state.alert = None
    return ended


def ended_alert(alert: Alert, summary: str, now_ms: int) -> Alert:
    """The last record of the alert."""
    return msgspec.structs.replace(
        alert,
        status="resolved",
        change="resolved",
        summary=summary,
        at_ms=EpochMs(now_ms),
        ends_at_ms=EpochMs(now_ms),
    )
