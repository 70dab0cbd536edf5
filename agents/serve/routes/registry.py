"""What was in force in the registry, and what changed."""

from __future__ import annotations

from typing import Final

from driftline.agents.read_model.read_model import Reads
from driftline.agents.serve.answers.registry import (
    FieldChange,
    Registry,
    RegistryChange,
    RegistryChanges,
)
from driftline.agents.serve.in_force import entries_at, labels_at, rules_at
from driftline.agents.serve.pages import one_page
from driftline.agents.serve.route import AtQuery, Limit, Name, Route, Table
from driftline.agents.serve.series_choice import chosen_version
from driftline.agents.serve.spans import SpanQuery, chosen_span
from driftline.agents.serve.view import View
from driftline.schemas.results import RegistryEffect, RegistryEvent
from driftline.schemas.times import EpochMs, parse_time
from driftline.schemas.topics import REGISTRY_EFFECTS, REGISTRY_EVENTS
from driftline.streams.registry.history import field_changes, history
from driftline.streams.registry.model_state import REJECTED


class RegistryQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters of `/registry`.

    Attributes
    ----------
    model, version
        Only this model and version.
    """

    model: Name | None = None
    version: Name | None = None


class ChangesQuery(SpanQuery, kw_only=True, frozen=True):
    """Parameters of `/registry/changes`.

    Attributes
    ----------
    model, version
        Only changes of this model and version.
    accepted
        Leaves out rejected commands and dry runs.
    limit
        Number of entries of one answer, at most.
    after
        `page.next` of the answer before.
    """

    model: Name | None = None
    version: Name | None = None
    accepted: bool = False
    limit: Limit = 1_000
    after: Name | None = None


def registry(view: View, query: RegistryQuery) -> Registry:
    """What is in force, or was at the time `at`: versions, labels and levels of alert rules."""
    if query.model is not None:
        chosen_version(view, query.model, query.version, query.at)
    entries = entries_at(view.reads, query.at, model_name=query.model, model_version=query.version)
    names = dict.fromkeys(each.model_name for each in entries)
    labels = (labels_at(view.reads, query.at, name) for name in names)
    rules = rules_at(view.reads, query.at, model_name=query.model)
    return Registry(
        at_ms=None if query.at is None else EpochMs(query.at),
        entries=entries,
        labels=[each for each in labels if each is not None],
        rules=[each for name, each in sorted(rules.items()) if each.rules and name in names],
    )


def changes(view: View, query: ChangesQuery) -> RegistryChanges:
    """What changed in the registry and what was rejected, the newest first: who, why, the fields
    before and after, and from which frontier on figures used it.
    """
    if query.model is not None:
        chosen_version(view, query.model, query.version, None)
    events = history(
        view.reads.records.all(REGISTRY_EVENTS, RegistryEvent, model_name=query.model),
        model_version=query.version,
        rejected=not query.accepted,
    )
    newest = max((parse_time(each.at) for each in events), default=None)
    span = chosen_span(query, newest)
    until_ms = min(span.until_ms, span.known_at_ms)
    found = [each for each in events if span.since_ms < parse_time(each.at) <= until_ms]
    shown, page = one_page(found, query, lambda each: each.command_id)
    frontiers = _frontiers(view.reads, query.model)
    return RegistryChanges(changes=[_change(each, frontiers) for each in shown], page=page)


def _frontiers(reads: Reads, model_name: str | None) -> dict[tuple[str, int], EpochMs]:
    """By model and revision, the frontier from which figures used it."""
    return {
        (each.model_name, each.revision): EpochMs.of(each.frontier)
        for each in reads.records.all(REGISTRY_EFFECTS, RegistryEffect, model_name=model_name)
        if each.settings is None
    }


def _change(event: RegistryEvent, frontiers: dict[tuple[str, int], EpochMs]) -> RegistryChange:
    accepted = event.event != REJECTED
    is_change = accepted and not event.dry_run
    return RegistryChange(
        event=event.event,
        model_name=event.model_name,
        model_version=event.model_version,
        revision=event.revision,
        at_ms=EpochMs.of(event.at),
        requested_by=event.requested_by,
        accepted=accepted,
        dry_run=event.dry_run,
        reason=event.reason,
        error=event.error,
        cause=event.cause,
        frontier_ms=frontiers.get((event.model_name, event.revision)) if is_change else None,
        changes=[
            FieldChange(model_version=version, field=name, before=before, after=after)
            for version, name, before, after in field_changes(event)
        ],
        command_id=event.command_id,
    )


def _registry_table(answer: Registry) -> Table:
    columns = (
        "model_name model_version stage threshold revision reference_id registered_at deployed_at"
        " promoted_by owner"
    ).split()
    return columns, [[getattr(each, name) for name in columns] for each in answer.entries]


def _changes_table(answer: RegistryChanges) -> Table:
    columns = (
        "at model_name model_version revision event accepted dry_run requested_by reason error"
        " cause frontier changed_version field before after"
    ).split()
    rows: list[list[object]] = []
    for each in answer.changes:
        row = [each.at_ms, each.model_name, each.model_version, each.revision, each.event]
        row += [each.accepted, each.dry_run, each.requested_by, each.reason, each.error]
        row += [each.cause, each.frontier_ms]
        fields = [
            [field.model_version, field.field, _short(field.before), _short(field.after)]
            for field in each.changes
        ]
        rows += [[*row, *field] for field in fields or [[None] * 4]]
    return columns, rows


def _short(value: object) -> object:
    """A value of a cell; a table in it is left to JSON."""
    return "(see JSON)" if isinstance(value, dict | list) else value


ROUTES: Final = (
    Route(
        path="/registry",
        query=RegistryQuery,
        answer=Registry,
        read=registry,
        table=_registry_table,
    ),
    Route(
        path="/registry/changes",
        query=ChangesQuery,
        answer=RegistryChanges,
        read=changes,
        table=_changes_table,
    ),
)
