"""A registry log read backwards in time: who changed what, and how things stood then."""

from __future__ import annotations

from collections.abc import Iterable

from driftline.schemas.results import RegistryEvent
from driftline.schemas.times import parse_time
from driftline.streams.registry.model_state import REJECTED, Model, apply


def replay(events: Iterable[RegistryEvent]) -> dict[str, Model]:
    """The state in force after all events, by model; rejections and dry runs count for nothing.

    Raises
    ------
    ValueError
        If a model's log has a hole.
    """
    models: dict[str, Model] = {}
    for event in events:
        models[event.model_name] = apply(
            models.get(event.model_name, Model(event.model_name)), event
        )
    return models


def as_of(
    events: Iterable[RegistryEvent], *, at_ms: int | None = None, revision: int | None = None
) -> dict[str, Model]:
    """The state that was in force at a time or after a revision, by model.

    Events hold in the order of their revisions. One that bears an earlier time than the revision
    before it (a clock that was wrong) holds from that revision's time on.

    Parameters
    ----------
    events
        The log of any number of models, each in order.
    at_ms
        Event time in ms; a change at this very time is in force.
    revision
        Revision of each model that is looked at.
    """
    chosen: list[RegistryEvent] = []
    reached: dict[str, int] = {}
    for event in events:
        if event.event == REJECTED or event.dry_run:
            continue
        since_ms = max(parse_time(event.at), reached.get(event.model_name, 0))
        reached[event.model_name] = since_ms
        if (at_ms is None or since_ms <= at_ms) and (
            revision is None or event.revision <= revision
        ):
            chosen.append(event)
    return replay(chosen)


def history(
    events: Iterable[RegistryEvent],
    *,
    model_name: str | None = None,
    model_version: str | None = None,
    rejected: bool = True,
) -> list[RegistryEvent]:
    """The events of a model or of one version, newest first, with what was rejected unless asked
    not to.

    A version's events are those that name it and those that changed it, as when another version
    took its place.
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
        return rejected or event.event != REJECTED

    return [event for event in events if wanted(event)][::-1]
