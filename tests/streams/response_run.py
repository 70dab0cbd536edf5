"""Stage 4 of one model on a state of its own, with alerts and commands one by one."""

from __future__ import annotations

from typing import Any, Literal

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.actions import Action
from driftline.schemas.results import (
    Alert,
    AlertChange,
    RegistryCommand,
    RegistryEntry,
    RegistryEvent,
)
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import EpochMs, format_time
from driftline.streams.registry import Registry
from driftline.streams.stage import Batch, Record

HOUR = 3_600_000
START_MS = EpochMs.of("2026-11-01T00:00:00Z")
Severity = Literal["info", "warning", "error", "critical"]


def at(hours: float) -> EpochMs:
    """Hours after the first of November 2026."""
    return EpochMs(START_MS + int(hours * HOUR))


def alert_of(
    hours: float,
    change: AlertChange = "firing",
    *,
    episode: float | None = None,
    version: str = "1.1",
    rule: str = "performance_drop",
    severity: Severity = "critical",
    segment: str = "all",
    silenced: bool = False,
) -> Record:
    """A change of an alert at an hour, of the episode that began at `episode` (by default then)."""
    began = hours if episode is None else episode
    ended = change in ("resolved", "accepted")
    alert = Alert(
        fingerprint=f"{version}-{segment}-{rule}",
        alert_id=f"{version}-{segment}-{rule}-{began}",
        group_id=f"{version}-{began}",
        model_name="churn",
        model_version=version,
        segment=segment,
        rule=rule,
        status="resolved" if ended else "silenced" if silenced else "firing",
        change=change,
        severity=severity,
        summary="recall fell",
        starts_at_ms=at(began),
        at_ms=at(hours),
        ends_at_ms=at(hours) if ended else None,
        silenced_by=["night"] if silenced else [],
    )
    return Record("alerts", alert)


def command_of(
    hours: float, command: str, version: str | None = "1.1", *, by: str = "ada", **params: Any
) -> Record:
    """A command at an hour; its time makes its id."""
    value = RegistryCommand(
        command_id=f"{command}-{version}-{hours}",
        command=command,
        model_name="churn",
        model_version=version,
        timestamp=format_time(at(hours)),
        requested_by=by,
        params=params,
    )
    return Record("registry-commands", value)


class ResponseRun:
    """The stage with `responses`, tables of the configuration."""

    def __init__(self, *responses: dict[str, Any]) -> None:
        config = Config(models={"churn": ModelConfig(responses=responses, segments=("plan",))})
        self.stage, self.state = Registry(config), MemoryState()
        self.events: list[RegistryEvent] = []
        self.entries: dict[str, RegistryEntry] = {}
        self.actions: list[Action] = []
        self.records: list[Record] = []

    def feed(self, *records: Record) -> list[Action]:
        """Process records one by one; gives the actions recorded for them."""
        before = len(self.actions)
        for record in records:
            for emitted in self.stage.process(
                Batch(records={record.topic: [record.value]}), self.state
            ):
                self.records.append(emitted)
                if isinstance(emitted.value, Action):
                    self.actions.append(emitted.value)
                elif isinstance(emitted.value, RegistryEvent):
                    self.events.append(emitted.value)
                elif isinstance(emitted.value, RegistryEntry):
                    self.entries[emitted.value.model_version] = emitted.value
        return self.actions[before:]

    def outcomes(self, *records: Record) -> list[str]:
        """The outcomes recorded for some records."""
        return [action.outcome for action in self.feed(*records)]

    def in_production(self) -> str | None:
        """The version in production."""
        return next((v for v, e in self.entries.items() if e.stage == "production"), None)


def deployed(run: ResponseRun, *versions: str) -> None:
    """Register and promote versions one after the other, in the hours before the first alert."""
    for number, version in enumerate(versions):
        run.feed(
            command_of(-20 + number, "register", version, threshold=0.5),
            command_of(-19.5 + number, "promote", version),
        )
