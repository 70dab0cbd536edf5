"""The settings under [notifications]: what is sent to whom, and when.

They have no effect on results. The keys of a channel's type are checked by `agents/notify`, which
knows the types.
"""

import re
from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from driftline.schemas.config_values import (
    InvalidValue,
    check_keys,
    describe,
    integer_between,
    one_of,
    read_duration,
    read_flag,
    read_list,
    read_string,
    read_table,
    read_values,
    toml_key,
)
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, parse_duration

__all__ = [
    "NOTIFICATION_KEYS",
    "SEVERITIES",
    "ChannelSettings",
    "NotificationSettings",
    "QuietHours",
    "RateLimit",
    "Severity",
    "read_notifications",
]

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
"""From the lowest to the highest."""

MAX_LEVEL = 10
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_RATE = re.compile(r"([1-9]\d{0,5})/(\w+)", re.ASCII)


def _usual_delays() -> dict[str, int]:
    return {"info": 0, "warning": 5 * MINUTE_MS, "error": 0, "critical": 0}


class RateLimit(Struct, frozen=True, kw_only=True):
    """At most `messages` in any `span_ms`."""

    messages: int
    span_ms: int


class QuietHours(Struct, frozen=True, kw_only=True):
    """A part of each day in which only what is urgent is sent.

    Attributes
    ----------
    from_minute, to_minute
        Minutes after midnight on the clock of the time zone, the first included, the last not; the
        part goes over midnight if it ends earlier than it begins.
    below
        What has a lower severity than this waits for the end of the quiet hours.
    """

    from_minute: int
    to_minute: int
    below: Severity = "critical"


class ChannelSettings(Struct, frozen=True, kw_only=True):
    """Settings of one channel that all types have.

    Attributes
    ----------
    name
        Its name in the file.
    type
        Which kind of channel it is, such as "slack".
    level
        Level of escalation, from 1: those of level 1 are told first.
    min_severity
        Alerts below it are not sent. By default "info" for log and console, else "warning".
    models, rules
        Names or patterns with * and ?; an alert is sent if one of each matches.
    notices
        Whether changes of the registry and daily digests are sent. By default not to PagerDuty.
    allow_private
        Whether its target may have a private, loopback or link-local address.
    of_type
        The other keys of its table, as written.
    path
        Path of its table in the file, for messages.
    """

    name: str
    type: str
    level: int = 1
    min_severity: Severity = "warning"
    models: tuple[str, ...] = ("*",)
    rules: tuple[str, ...] = ("*",)
    notices: bool = True
    allow_private: bool = False
    of_type: dict[str, Any] = {}
    path: str = "notifications.channels"


class NotificationSettings(Struct, frozen=True, kw_only=True):
    """What is sent, to whom and when.

    Attributes
    ----------
    group_wait_ms
        How long a message waits for more news of its group, from the first news on.
    repeat_ms
        How long after the last message an alert that is firing and unacknowledged is told again;
        None for never.
    escalate_after_ms
        How long after one level the next level is told, unless somebody has acknowledged the alert.
    escalate_from
        Alerts below this severity are told to level 1 only.
    delay_ms
        By severity, how long an alert must have been firing before it is told.
    rate_limit
        Of each channel. What is above goes into a digest.
    daily_digest_minute
        When the daily digest is sent, in minutes after midnight; None for never.
    quiet_hours
        None for none.
    time_zone
        Whose clock quiet hours and the daily digest follow.
    give_up_after_ms
        How long after its planning a message is still tried again.
    channels
        In the order of the file.
    """

    group_wait_ms: int = 10 * SECOND_MS
    repeat_ms: int | None = None
    escalate_after_ms: int = 5 * MINUTE_MS
    escalate_from: Severity = "critical"
    delay_ms: dict[str, int] = field(default_factory=_usual_delays)
    rate_limit: RateLimit = RateLimit(messages=20, span_ms=HOUR_MS)
    daily_digest_minute: int | None = None
    quiet_hours: QuietHours | None = None
    time_zone: tzinfo = UTC
    give_up_after_ms: int = DAY_MS
    channels: tuple[ChannelSettings, ...] = ()


def read_notifications(value: Any) -> NotificationSettings:
    """The settings in the table `[notifications]`.

    Raises
    ------
    InvalidValue
        If a key or a value is invalid; names its path from "notifications" on.

    Examples
    --------
    >>> settings = read_notifications(
    ...     {"rate_limit": "5/1h", "channels": {"ops": {"type": "log", "format": "text"}}}
    ... )
    >>> settings.rate_limit.messages, settings.channels[0].name, settings.channels[0].of_type
    (5, 'ops', {'format': 'text'})
    """
    table = read_table(value, "notifications")
    check_keys(table, tuple(NOTIFICATION_KEYS), "notifications.")
    return NotificationSettings(**read_values(table, NOTIFICATION_KEYS, "notifications"))


def _read_repeat(value: Any) -> int | None:
    if value == "off":
        return None
    ms = read_duration(value)
    if ms < MINUTE_MS:
        raise ValueError(f'is {describe(value)}, less than one minute; "off" for never')
    return ms


def _read_positive(value: Any) -> int:
    ms = read_duration(value)
    if ms == 0:
        raise ValueError("must be longer than zero")
    return ms


def _read_delay(value: Any) -> dict[str, int]:
    table = read_table(value, "")
    check_keys(table, SEVERITIES, ".")
    delays = _usual_delays()
    for key, text in table.items():
        try:
            delays[key] = read_duration(text)
        except ValueError as error:
            raise InvalidValue(f".{key}", str(error)) from error
    return delays


def _read_rate(value: Any) -> RateLimit:
    match = _RATE.fullmatch(read_string(value))
    if match is None:
        raise ValueError(f'is {describe(value)}, not messages in a span, such as "20/1h"')
    span_ms = parse_duration(match[2])
    if not SECOND_MS <= span_ms <= 30 * DAY_MS:
        raise ValueError(f"is {describe(value)}; its span must be from 1s to 30d")
    return RateLimit(messages=int(match[1]), span_ms=span_ms)


def _read_time_of_day(value: Any) -> int:
    match = _TIME_OF_DAY.fullmatch(read_string(value))
    if match is None:
        raise ValueError(f'is {describe(value)}, not a time of day such as "08:00"')
    return 60 * int(match[1]) + int(match[2])


def _read_daily(value: Any) -> int | None:
    return None if value == "off" else _read_time_of_day(value)


def _read_quiet_hours(value: Any) -> QuietHours:
    table = read_table(value, "")
    keys: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "from": ("from_minute", _read_time_of_day),
        "to": ("to_minute", _read_time_of_day),
        "below": ("below", one_of(*SEVERITIES[1:])),
    }
    check_keys(table, tuple(keys), ".")
    for key in ("from", "to"):
        if key not in table:
            raise InvalidValue("", f'needs "{key}"')
    hours = QuietHours(**read_values(table, keys, ""))
    if hours.from_minute == hours.to_minute:
        raise InvalidValue(".to", "is the time of from; quiet hours must not last all day")
    return hours


def _read_time_zone(value: Any) -> tzinfo:
    name = read_string(value)
    if name == "UTC":  # known without a database of time zones
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f'is {describe(value)}, which is no time zone here, such as "Europe/Berlin"; a system '
            "without a database of time zones needs the package tzdata"
        ) from error


def _read_name_or_pattern(value: Any) -> str:
    if not read_string(value):
        raise ValueError("must not be empty")
    return str(value)


def _read_patterns(value: Any) -> tuple[str, ...]:
    return read_list(value, _read_name_or_pattern, least=1)


_CHANNEL_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "type": ("type", _read_name_or_pattern),
    "level": ("level", integer_between(1, MAX_LEVEL)),
    "min_severity": ("min_severity", one_of(*SEVERITIES)),
    "models": ("models", _read_patterns),
    "rules": ("rules", _read_patterns),
    "notices": ("notices", read_flag),
    "allow_private": ("allow_private", read_flag),
}


def _read_channels(value: Any) -> tuple[ChannelSettings, ...]:
    return tuple(_read_channel(name, table) for name, table in read_table(value, "").items())


def _read_channel(name: str, value: Any) -> ChannelSettings:
    where = f".{toml_key(name)}"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InvalidValue(where, "is no name; use letters, digits, '_' and '-', at most 64")
    table = read_table(value, where)
    if "type" not in table:
        raise InvalidValue(where, 'needs "type", such as "log"')
    values = read_values(table, _CHANNEL_KEYS, where)
    values.setdefault("min_severity", "info" if table["type"] in ("log", "console") else "warning")
    values.setdefault("notices", table["type"] != "pagerduty")
    return ChannelSettings(
        name=name,
        of_type={key: each for key, each in table.items() if key not in _CHANNEL_KEYS},
        path=f"notifications.channels{where}",
        **values,
    )


NOTIFICATION_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "group_wait": ("group_wait_ms", read_duration),
    "repeat": ("repeat_ms", _read_repeat),
    "escalate_after": ("escalate_after_ms", _read_positive),
    "escalate_from": ("escalate_from", one_of(*SEVERITIES[1:])),
    "delay": ("delay_ms", _read_delay),
    "rate_limit": ("rate_limit", _read_rate),
    "daily_digest": ("daily_digest_minute", _read_daily),
    "quiet_hours": ("quiet_hours", _read_quiet_hours),
    "time_zone": ("time_zone", _read_time_zone),
    "give_up_after": ("give_up_after_ms", _read_positive),
    "channels": ("channels", _read_channels),
}
"""Keys of [notifications]: key -> attribute of `NotificationSettings`, reader."""
