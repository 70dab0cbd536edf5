"""Answers about the registry: what was in force at a time, and what changed."""

from __future__ import annotations

from typing import Any

from driftline.agents.serve.answers.answer import Answer, Page
from driftline.schemas.results import ModelLabels, ModelRules, RegistryEntry
from driftline.schemas.times import EpochMs


class Registry(Answer):
    """What was in force at a time.

    Attributes
    ----------
    at_ms
        The time of the question; null for now.
    entries
        As on the topic `registry`.
    labels, rules
        What commands have set of labels and alert rules, as on the topics.
    """

    at_ms: EpochMs | None
    entries: list[RegistryEntry]
    labels: list[ModelLabels]
    rules: list[ModelRules]


class FieldChange(Answer):
    """A field that a change moved.

    Attributes
    ----------
    model_version
        Empty for a field of the model itself.
    before, after
        Null for a field without a value.
    """

    model_version: str
    field: str
    before: Any
    after: Any


class RegistryChange(Answer):
    """One command and its answer.

    Attributes
    ----------
    accepted
        False for a rejected command; `error` says why. Of a dry run nothing changed either.
    frontier_ms
        Frontier from which figures used the revision; it may lie before the time of the command.
        Null if it is not known.
    cause
        Id of the alert or recommendation behind an automatic change.
    """

    event: str
    model_name: str
    model_version: str | None
    revision: int
    at_ms: EpochMs
    requested_by: str
    accepted: bool
    dry_run: bool
    reason: str
    error: str | None
    cause: str | None
    frontier_ms: EpochMs | None
    changes: list[FieldChange]
    command_id: str


class RegistryChanges(Answer):
    """Changes, rejections and dry runs, the newest first."""

    changes: list[RegistryChange]
    page: Page
