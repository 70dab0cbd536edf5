"""Notifications and alerts for tests of channels, and channels from tables."""

from __future__ import annotations

from typing import Any

import msgspec

from driftline.agents.notify.channel import ChannelPlugin
from driftline.agents.notify.channel_builder import build_channel
from driftline.schemas.notification_settings import ChannelSettings
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert
from driftline.schemas.times import EpochMs

NOON_MS = EpochMs(1_767_268_800_000)  # 2026-01-01T12:00:00Z


def channel(type_: str, environment: dict[str, str] | None = None, **table: Any) -> ChannelPlugin:
    """A channel `ops` with this table; targets on loopback are allowed unless it says otherwise."""
    private = type_ not in ("log", "console") and table.pop("allow_private", True)
    table = {key.rstrip("_"): value for key, value in table.items()}
    settings = ChannelSettings(
        name="ops",
        type=type_,
        allow_private=private,
        of_type=table,
        path="notifications.channels.ops",
    )
    return build_channel(settings, environment or {})


def alert(**changed: Any) -> Alert:
    """An alert that fired at noon."""
    fired = Alert(
        fingerprint="ac49ad7f3ffe32d7",
        alert_id="ac49ad7f3ffe32d7-1",
        group_id="ac49ad7f3ffe32d7-1",
        model_name="churn",
        model_version="1.4.2",
        segment="all",
        rule="performance_drop",
        status="firing",
        change="firing",
        severity="error",
        summary="recall 0.71, 0.08 below its baseline",
        starts_at_ms=NOON_MS,
        at_ms=NOON_MS,
    )
    return msgspec.structs.replace(fired, **_times(changed))


def notification(**changed: Any) -> Notification:
    """The notification about it, planned ten seconds later."""
    planned = Notification(
        notification_id="n-0001",
        channel="ops",
        kind="firing",
        status="planned",
        severity="error",
        title="performance_drop of churn 1.4.2",
        text="recall 0.71, 0.08 below its baseline",
        planned_at_ms=EpochMs(NOON_MS + 10_000),
        at_ms=EpochMs(NOON_MS + 10_000),
        group_key="group-1",
        alerts=[alert()],
    )
    return msgspec.structs.replace(planned, **_times(changed))


def _times(changed: dict[str, Any]) -> dict[str, Any]:
    """Times as records hold them."""
    return {
        name: EpochMs(value) if name.endswith("_ms") else value for name, value in changed.items()
    }
