"""Queries of a registry log: who changed what, and the state in force at an earlier time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from driftline.schemas.results import RegistryEvent
from driftline.schemas.times import parse_time
from driftline.streams.registry.model_state import MODEL, REJECTED, RULE, RegisteredModel


def replay(events: Iterable[RegistryEvent]) -> dict[str, RegisteredModel]:
    """The state in force after all events, by model; rejections and dry runs change nothing.

    Raises
    ------
    ValueError
        If the log of a model has a hole.
    """
    models: dict[str, RegisteredModel] = {}
    for event in events:
        model = models.get(event.model_name)
        if model is None:
            model = models[event.model_name] = RegisteredModel(event.model_name)
        model.apply(event)
    return models


def as_of(
    events: Iterable[RegistryEvent], *, at_ms: int | None = None, revision: int | None = None
) -> dict[str, RegisteredModel]:
    """The state in force at a time or after a revision, by model.

    Parameters
    ----------
    events, at_ms, revision
        As for `in_force`.

    Raises
    ------
    ValueError
        If the log of a model has a hole.
    """
    return replay(in_force(events, at_ms=at_ms, revision=revision))


def in_force(
    events: Iterable[RegistryEvent], *, at_ms: int | None = None, revision: int | None = None
) -> list[RegistryEvent]:
    """The changes that are in force at a time or after a revision.

    Events are in force in the order of their revisions. An event that bears an earlier time than
    the revision before it (its sender's clock was wrong) is in force from that revision's time on.

    Parameters
    ----------
    events
        The log of any number of models, each in order.
    at_ms
        Event time in ms; a change at this very time is in force.
    revision
        Revision of each model to stop at.
    """
    chosen: list[RegistryEvent] = []
    reached_ms: dict[str, int] = {}
    for event in events:
        if event.event == REJECTED or event.dry_run:
            continue
        since_ms = max(parse_time(event.at), reached_ms.get(event.model_name, 0))
        reached_ms[event.model_name] = since_ms
        if (at_ms is None or since_ms <= at_ms) and (
            revision is None or event.revision <= revision
        ):
            chosen.append(event)
    return chosen


def history(
    events: Iterable[RegistryEvent],
    *,
    model_name: str | None = None,
    model_version: str | None = None,
    rejected: bool = True,
) -> list[RegistryEvent]:
    """The events of a model or of one version, newest first.

    The events of a version are those that name it and those that changed it, as when another
    version took its place.

    Parameters
    ----------
    rejected
        Whether to include what changed nothing: rejected commands and dry runs.
    """

    def wanted(event: RegistryEvent) -> bool:
        if model_name is not None and event.model_name != model_name:
            return False
        if (
            model_version is not None
            and event.model_version != model_version
            and model_version not in (event.after or {})
        ):
            return False
        return rejected or (event.event != REJECTED and not event.dry_run)

    return [event for event in events if wanted(event)][::-1]


def field_changes(event: RegistryEvent) -> Iterator[tuple[str, str, Any, Any]]:
    """Version, field, and its values before and after, of each field that an event changed.

    The level of a rule is a field for each key of its table, with the values that were or are in
    force; the version is "" for fields of the model itself.

    Examples
    --------
    >>> level = {"values": {"below": 0.88}, "instead_of": {"below": 0.85}}
    >>> event = RegistryEvent(
    ...     event="set_rule_level", model_name="churn", model_version=None, revision=3,
    ...     command_id="c", at="2026-11-30T10:00:00Z", requested_by="ann", before={},
    ...     after={"": {"rules.accuracy": level}},
    ... )
    >>> list(field_changes(event))
    [('', 'rules.accuracy.below', 0.85, 0.88)]
    """
    for version, fields in sorted((event.after or {}).items()):
        before = (event.before or {}).get(version) or {}
        for name, after in sorted(fields.items()):
            if version == MODEL and name.startswith(RULE):
                yield from _level_changes(name, before.get(name) or {}, after or {})
            else:
                yield version, name, before.get(name), after


def _level_changes(
    name: str, before: dict[str, Any], after: dict[str, Any]
) -> Iterator[tuple[str, str, Any, Any]]:
    old, new = before.get("values", {}), after.get("values", {})
    configured = before.get("instead_of", {}) | after.get("instead_of", {})
    for key in dict.fromkeys([*old, *new]):
        was = old[key] if key in old else configured.get(key)
        is_now = new[key] if key in new else configured.get(key)
        if was != is_now:
            yield MODEL, f"{name}.{key}", was, is_now
