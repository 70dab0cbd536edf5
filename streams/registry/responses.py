"""Which responses an alert leads to, and which are not taken and why.

A response is decided when an alert fires, when it gets worse or wider, and when its silence ends;
it is taken once in an episode. Reasons not to take it, in this order:

    silenced       a silence matches the alert
    held_off       a person took the same change of the registry back
    cool_down      it was taken too recently
    most_a_day     it was taken as often as a day allows
    not_possible   the registry has nothing to go back to

Each is recorded once in an episode. Times are event times: those of the alerts, and of the commands
of people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import xxhash

from driftline.schemas.actions import REGISTRY_ACTIONS, Action, ActionName, ActionOutcome
from driftline.schemas.results import Alert, RegistryCommand, RegistryEvent, key_of
from driftline.schemas.times import DAY_MS, format_duration, format_time, parse_time
from driftline.schemas.topics import ACTIONS, REGISTRY_EVENTS
from driftline.streams.registry.command_params import SYSTEM
from driftline.streams.registry.model_state import CONFIGURATION, REJECTED, Fields
from driftline.streams.registry.response import Response
from driftline.streams.registry.response_state import AutomaticChange, StoredResponses, Taken
from driftline.streams.stage import Record, State

_DECIDED_AT: Final = ("firing", "escalated", "joined", "unsilenced")
_ENDS: Final = ("taken", "dry_run")
_ONLY: Final[Mapping[ActionName, str]] = {
    "rollback_configuration": "configuration",
    "rollback_version": "version",
}

CarryOut = Callable[[RegistryCommand, str], list[Record]]
"""Carries out a command because of an alert; gives the records that it leads to."""


class _Decision(msgspec.Struct, frozen=True):
    """What is decided about a response, and why."""

    outcome: ActionOutcome
    reason: str
    params: dict[str, Any] = {}


class Responses:
    """The responses of one model during one batch.

    Parameters
    ----------
    responses
        Those of the configuration, in its order.
    carry_out
        Carries out a command.
    """

    def __init__(
        self, model_name: str, responses: Iterable[Response], state: State, carry_out: CarryOut
    ) -> None:
        self._responses, self._carry_out = tuple(responses), carry_out
        self._stored = StoredResponses(state, model_name)

    def answer(self, alert: Alert) -> Iterator[Record]:
        """The records that a change of an alert leads to."""
        if alert.status == "resolved":
            self._stored.forget_episode(alert.alert_id)
        elif alert.change in _DECIDED_AT:
            for response in self._responses:
                if response.answers(alert):
                    yield from self._respond(response, alert)

    def _respond(self, response: Response, alert: Alert) -> Iterator[Record]:
        episode = self._stored.episode(alert.alert_id)
        key = f"{'dry run' if response.dry_run else 'real'}/{response.name}"
        recorded = episode.get(key, [])
        if any(outcome in _ENDS for outcome in recorded):
            return
        decision = self._obstacle(response, alert)
        changes: list[Record] = []
        if decision is None:
            decision, changes = self._act(response, alert)
        if decision.outcome in _ENDS:
            self._note_taken(response, alert)
        if decision.outcome in recorded:
            return
        self._stored.put_episode(alert.alert_id, episode | {key: [*recorded, decision.outcome]})
        yield from changes
        yield Record(ACTIONS, _action(response, alert, decision))

    def _obstacle(self, response: Response, alert: Alert) -> _Decision | None:
        """Why a response is not taken, whatever the state of the registry; None if nothing speaks
        against it.
        """
        if alert.status == "silenced":
            return _Decision("silenced", f"the alert is silenced by {', '.join(alert.silenced_by)}")
        if response.changes_registry:
            change = self._stored.change(alert.model_version, response.action)
            if change is not None and change.taken_back_ms is not None:
                until_ms = change.taken_back_ms + response.hold_off_ms
                if alert.at_ms < until_ms:
                    return _Decision(
                        "held_off",
                        f"{change.taken_back_by} took this change back at "
                        f"{format_time(change.taken_back_ms)} (revision {change.revision}, because "
                        f"of {change.alert_id}); it is held off until {format_time(until_ms)}",
                    )
        taken = self._stored.taken(response.name, dry_run=response.dry_run)
        if taken is None:
            return None
        if alert.at_ms < taken.at_ms + response.cool_down_ms:
            return _Decision(
                "cool_down",
                f"taken at {format_time(taken.at_ms)} because of {taken.alert_id}; not again "
                f"within {format_duration(response.cool_down_ms)}",
            )
        if taken.times >= response.most_a_day and _is_same_day(taken, alert):
            return _Decision(
                "most_a_day",
                f"taken as often as a day allows ({response.most_a_day}), last at "
                f"{format_time(taken.at_ms)} because of {taken.alert_id}",
            )
        return None

    def _act(self, response: Response, alert: Alert) -> tuple[_Decision, list[Record]]:
        """Take a response; gives what was decided, and the records of a changed registry."""
        why = f"{alert.severity} alert {alert.rule}: {alert.summary}"
        if not response.changes_registry:
            outcome: ActionOutcome = "dry_run" if response.dry_run else "taken"
            return _Decision(outcome, why, dict(response.params)), []
        asked = _command(response, alert, why, dry_run=True)
        event = _event(self._carry_out(asked, alert.alert_id))
        if event.event == REJECTED:
            return _Decision("not_possible", event.error or ""), []
        after = event.after or {}
        if (left := self._left_version(alert, after)) is not None:
            return left, []
        if response.dry_run:
            return _Decision("dry_run", why, {"after": after}), []
        records = self._carry_out(_command(response, alert, why, dry_run=False), alert.alert_id)
        event = _event(records)
        self._stored.put_change(
            alert.model_version,
            response.action,
            AutomaticChange(
                at_ms=int(alert.at_ms),
                alert_id=alert.alert_id,
                revision=event.revision,
                before=(event.before or {}).get(alert.model_version, {}),
                after=after.get(alert.model_version, {}),
            ),
        )
        return _Decision("taken", why, {"revision": event.revision, "after": after}), records

    def _left_version(self, alert: Alert, after: Mapping[str, Fields]) -> _Decision | None:
        """Why the version that would go to production must not: an alert led away from it, and no
        person has put it there since.
        """
        for version, fields in after.items():
            if version != alert.model_version and fields.get("stage") == "production":
                change = self._stored.change(version, "rollback_version")
                if change is not None and change.taken_back_ms is None:
                    return _Decision(
                        "not_possible",
                        f"{version}, which was in production before, was itself rolled back at "
                        f"{format_time(change.at_ms)} because of {change.alert_id}",
                    )
        return None

    def _note_taken(self, response: Response, alert: Alert) -> None:
        before = self._stored.taken(response.name, dry_run=response.dry_run)
        times = before.times if before is not None and _is_same_day(before, alert) else 0
        self._stored.put_taken(
            response.name,
            Taken(at_ms=int(alert.at_ms), alert_id=alert.alert_id, times=times + 1),
            dry_run=response.dry_run,
        )


def _is_same_day(taken: Taken, alert: Alert) -> bool:
    return taken.at_ms // DAY_MS == alert.at_ms // DAY_MS


def note_taken_back(event: RegistryEvent, command: RegistryCommand, state: State) -> None:
    """Note the changes by responses that a person's change takes back: those of which it gives a
    setting another value, or the stage that it had before.
    """
    if command.requested_by == SYSTEM:
        return
    stored = StoredResponses(state, event.model_name)
    for version, before in (event.before or {}).items():
        after = (event.after or {})[version]
        for action in REGISTRY_ACTIONS:
            fields = ("stage",) if action == "rollback_version" else CONFIGURATION
            if not any(field in after for field in fields):
                continue
            change = stored.change(version, action)
            if (
                change is not None
                and change.taken_back_ms is None
                and _takes_back(before, after, change, fields)
            ):
                stored.put_change(
                    version,
                    action,
                    msgspec.structs.replace(
                        change,
                        taken_back_ms=max(parse_time(command.timestamp), change.at_ms),
                        taken_back_by=command.requested_by,
                    ),
                )


def _takes_back(
    before: Fields, after: Fields, change: AutomaticChange, fields: Iterable[str]
) -> bool:
    return any(
        field in after
        and field in change.after
        and before[field] == change.after[field]
        and (field != "stage" or after[field] == change.before[field])
        for field in fields
    )


def _command(response: Response, alert: Alert, why: str, *, dry_run: bool) -> RegistryCommand:
    return RegistryCommand(
        command_id=f"response/{_identity(response, alert, 'taken')}",
        command="rollback",
        model_name=alert.model_name,
        model_version=alert.model_version,
        timestamp=format_time(alert.at_ms),
        params={"only": _ONLY[response.action]},
        requested_by=SYSTEM,
        reason=f"done by itself, as the response {response.name} says, because of {why}",
        dry_run=dry_run,
    )


def _event(records: Iterable[Record]) -> RegistryEvent:
    """The event that answers a command."""
    for record in records:
        if record.topic == REGISTRY_EVENTS:
            event: RegistryEvent = record.value
            return event
    raise ValueError("registry: a response was carried out before; its episode is not known")


def _identity(response: Response, alert: Alert, outcome: str) -> str:
    parts = (alert.model_name, alert.alert_id, response.name, outcome)
    return xxhash.xxh64_hexdigest(key_of((*parts, str(response.dry_run))).encode())


def _action(response: Response, alert: Alert, decision: _Decision) -> Action:
    return Action(
        action_id=_identity(response, alert, decision.outcome),
        action=response.action,
        response=response.name,
        model_name=alert.model_name,
        model_version=alert.model_version,
        segment=alert.segment,
        rule=alert.rule,
        alert_id=alert.alert_id,
        severity=alert.severity,
        outcome=decision.outcome,
        dry_run=response.dry_run,
        at_ms=alert.at_ms,
        reason=decision.reason,
        params=decision.params,
    )
