"""Silences: which are in force, and which alerts they match.

A silence acts on what is announced while it is in force. It changes no judgement: the alert fires,
escalates and resolves as without it, and its records name the silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from driftline.schemas.alert_commands import AlertCommand, Silence
from driftline.schemas.times import MAX_TIME_MS, EpochMs, format_time, parse_duration, parse_time

PATTERN_CHARACTERS = "*?["


class InvalidSilence(ValueError):
    """A silence that can match nothing, or never; the message says why."""


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the command; see `AlertCommand`."""

    id: str | None = None
    rule: str = "*"
    model_version: str = "*"
    segment: str = "*"
    severity: str = "*"
    starts_at: str | int | None = None
    ends_at: str | int | None = None
    duration: str | None = None


def silence_of(command: AlertCommand, now_ms: int) -> Silence:
    """The silence that a command asks for.

    Parameters
    ----------
    now_ms
        Event time that the model has reached.

    Raises
    ------
    InvalidSilence
        If a parameter is wrong, or the span is empty or over.

    Examples
    --------
    >>> asked = AlertCommand(
    ...     command_id="night",
    ...     command="silence",
    ...     model_name="churn",
    ...     timestamp="2026-11-30T22:00:00Z",
    ...     requested_by="ann",
    ...     params={"rule": "drift*", "duration": "2h"},
    ... )
    >>> silence = silence_of(asked, now_ms=0)
    >>> silence.id, format_time(silence.ends_at_ms)
    ('night', '2026-12-01T00:00:00Z')
    """
    try:
        params = msgspec.convert(command.params, _Params)
    except msgspec.ValidationError as error:
        raise InvalidSilence(str(error).replace("$", "params")) from error
    asked_ms = parse_time(command.timestamp)
    starts_ms = None if params.starts_at is None else _time("starts_at", params.starts_at)
    begin_ms = asked_ms if starts_ms is None else starts_ms
    ends_ms = _end_ms(params, begin_ms)
    if ends_ms > MAX_TIME_MS:
        raise InvalidSilence("ends after the year 9999")
    if ends_ms <= begin_ms:
        raise InvalidSilence(
            f"ends at {format_time(ends_ms)}, which is not after its start, {format_time(begin_ms)}"
        )
    if ends_ms <= now_ms:
        raise InvalidSilence(
            f"ended at {format_time(ends_ms)}; the events of {command.model_name} have reached "
            f"{format_time(now_ms)}"
        )
    return Silence(
        id=params.id or command.command_id,
        rule=params.rule,
        model_version=params.model_version,
        segment=params.segment,
        severity=params.severity,
        starts_at_ms=None if starts_ms is None else EpochMs(starts_ms),
        ends_at_ms=EpochMs(ends_ms),
        created_by=command.requested_by,
        reason=command.reason,
    )


def matching(
    silences: Iterable[Silence],
    now_ms: int,
    *,
    model_version: str,
    segment: str,
    rule: str,
    severity: str,
) -> tuple[str, ...]:
    """Ids of the silences that are in force at a time and match an alert.

    Examples
    --------
    >>> night = Silence(id="night", rule="drift*", ends_at_ms=EpochMs(100), created_by="ann")
    >>> alert = {"model_version": "1.4.2", "segment": "all", "severity": "info"}
    >>> matching([night], 99, rule="drift", **alert), matching([night], 100, rule="drift", **alert)
    (('night',), ())
    >>> matching([night], 99, rule="no_data", **alert)
    ()
    """
    return tuple(
        silence.id
        for silence in silences
        if (silence.starts_at_ms is None or silence.starts_at_ms <= now_ms)
        and now_ms < silence.ends_at_ms
        and fnmatchcase(rule, silence.rule)
        and fnmatchcase(model_version, silence.model_version)
        and fnmatchcase(segment, silence.segment)
        and fnmatchcase(severity, silence.severity)
    )


def is_pattern(text: str) -> bool:
    """Whether a text may match others than itself."""
    return any(character in text for character in PATTERN_CHARACTERS)


def _end_ms(params: _Params, begin_ms: int) -> int:
    if params.ends_at is not None and params.duration is None:
        return _time("ends_at", params.ends_at)
    if params.duration is None or params.ends_at is not None:
        raise InvalidSilence("needs either ends_at or duration")
    try:
        return begin_ms + parse_duration(params.duration)
    except ValueError as error:
        raise InvalidSilence(f"duration: {error}") from error


def _time(name: str, value: str | int) -> int:
    try:
        return parse_time(value)
    except ValueError as error:
        raise InvalidSilence(f"{name}: {error}") from error
