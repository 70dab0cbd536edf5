"""What people do about the alerts of a model: each command is checked, carried out and answered.

    acknowledge, unacknowledge    an open alert is taken on, until it ends; or given back
    accept                        the level of an open alert becomes its new baseline, which ends it
    silence, unsilence            matching alerts are to be left alone for a span of event time

The answer to every command is a record of `alert-events`: what it changed, or why it was rejected.
What is announced of an alert is `open_alerts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import xxhash

from driftline.schemas import topics
from driftline.schemas.alert_commands import AlertCommand, AlertEvent, Silence
from driftline.schemas.results import Acknowledgement
from driftline.schemas.times import EpochMs, format_time, parse_time
from driftline.streams.decide.alert_lifecycle import AlertState, acknowledged, resolved
from driftline.streams.decide.alert_records import fingerprint
from driftline.streams.decide.detectors.rate_history import RateHistory
from driftline.streams.decide.open_alerts import OpenAlerts
from driftline.streams.decide.rule import SequentialRule
from driftline.streams.decide.rule_index import RuleIndex
from driftline.streams.decide.silences import InvalidSilence, is_pattern, silence_of
from driftline.streams.decide.stored_state import (
    AnsweredCommand,
    OpenAlert,
    StateCache,
    WatchedHistories,
    WatchedModel,
    WatchedSeries,
    WatchedVersion,
)
from driftline.streams.decide.wording import listed
from driftline.streams.lanes import ALL
from driftline.streams.stage import Record

REJECTED: Final = "rejected"
_content = msgspec.msgpack.Encoder(order="deterministic").encode


class ActRejected(Exception):
    """Why a command is not carried out, as a sentence for its sender."""


class ReceivedCommand(msgspec.Struct, frozen=True):
    """A command, and the event time that its model had reached when it was carried out."""

    command: AlertCommand
    frontier_ms: int

    @property
    def model_name(self) -> str:
        """The model."""
        return self.command.model_name


class _Outcome(msgspec.Struct):
    """What an accepted command changed."""

    records: list[Record]
    alert_id: str | None = None
    silence: Silence | None = None


class _Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The open alert that a command is about."""

    fingerprint: str | None = None
    rule: str | None = None
    model_version: str | None = None
    segment: str = ALL


class _SilenceId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class AlertActs:
    """The commands of one model during one batch."""

    def __init__(
        self, model_name: str, index: RuleIndex, cache: StateCache, alerts: OpenAlerts
    ) -> None:
        self._name, self._index, self._cache, self._alerts = model_name, index, cache, alerts
        self._model = cache.load(WatchedModel, model_name)

    def answer(self, received: ReceivedCommand) -> Iterator[Record]:
        """Carry out a command. Its answer comes first, then the records of the alerts that it
        changed. The same command sent again leads to nothing.
        """
        command = received.command
        answered = self._cache.load(AnsweredCommand, self._name, command.command_id)
        digest = xxhash.xxh64_digest(_content(command))
        if answered.digest == digest:
            return
        event = AlertEvent(
            event=command.command,
            model_name=self._name,
            command=command.command,
            command_id=command.command_id,
            at=command.timestamp,
            requested_by=command.requested_by,
            frontier=format_time(received.frontier_ms),
            registry_revision=self._model.registry_revision,
            params=command.params,
            reason=command.reason,
        )
        try:
            if answered.digest:
                raise ActRejected(
                    f"command_id {command.command_id!r} was another command's; give every command "
                    "an id of its own"
                )
            answered.digest = digest
            outcome = self._carry_out(command)
        except ActRejected as rejection:
            yield Record(
                topics.ALERT_EVENTS,
                msgspec.structs.replace(
                    event, event=REJECTED, error=f"{command.command}: {rejection}"
                ),
            )
            return
        yield Record(
            topics.ALERT_EVENTS,
            msgspec.structs.replace(event, alert_id=outcome.alert_id, silence=outcome.silence),
        )
        yield from outcome.records

    def _carry_out(self, command: AlertCommand) -> _Outcome:
        act = _ACTS.get(command.command)
        if act is None:
            raise ActRejected(f"is no command; known are {', '.join(sorted(_ACTS))}")
        if not (self._model.now_ms or self._model.registry_revision):
            raise ActRejected(f"nothing is known of a model {self._name!r}")
        return act(self, command)

    def _acknowledge(self, command: AlertCommand) -> _Outcome:
        place = self._place(command)
        state = self._alerts.state(place)
        if state.acknowledged is not None:
            raise ActRejected(
                f"{state.acknowledged.by} has acknowledged it at "
                f"{format_time(state.acknowledged.at_ms)}; unacknowledge it first"
            )
        by = Acknowledgement(
            by=command.requested_by,
            at_ms=EpochMs(parse_time(command.timestamp)),
            reason=command.reason,
        )
        record = self._alerts.announce_act(
            place,
            acknowledged(state, by),
            "acknowledged",
            f"acknowledged by {_who(command)}",
            _details(command),
        )
        return self._about(place, state, record)

    def _unacknowledge(self, command: AlertCommand) -> _Outcome:
        place = self._place(command)
        state = self._alerts.state(place)
        if state.acknowledged is None:
            raise ActRejected("nobody has acknowledged it")
        record = self._alerts.announce_act(
            place,
            acknowledged(state, None),
            "unacknowledged",
            f"the acknowledgement of {state.acknowledged.by} was taken back by {_who(command)}",
            _details(command),
        )
        return self._about(place, state, record)

    def _accept(self, command: AlertCommand) -> _Outcome:
        place = self._place(command)
        rule, levels = self._index.rules.get(place.rule), self._alerts.levels(place)
        series = (self._name, place.model_version, place.segment)
        if rule is None or not rule.accepts:
            raise ActRejected(
                f"{place.rule} does not compare with a baseline that could begin anew; silence the "
                "alert, or change the rule"
            )
        if isinstance(rule, SequentialRule):
            histories = self._cache.load(WatchedHistories, *series).by_rule
            histories[rule.name] = rule.accepted(histories.get(rule.name, RateHistory()))
        else:
            self._cache.load(WatchedSeries, *series).accepted[rule.name] = dict(levels)
        state = self._alerts.state(place)
        record = self._alerts.announce_act(
            place,
            resolved(state, self._model.now_ms),
            "accepted",
            f"accepted as the new baseline by {_who(command)}",
            _details(command),
        )
        return self._about(place, state, record)

    def _silence(self, command: AlertCommand) -> _Outcome:
        try:
            silence = silence_of(command, self._model.now_ms)
        except InvalidSilence as error:
            raise ActRejected(str(error)) from error
        if silence.id in self._model.silences:
            raise ActRejected(f"there is a silence {silence.id!r}; give this one another id")
        version = silence.model_version
        if not is_pattern(version) and not self._cache.has(WatchedVersion, self._name, version):
            raise ActRejected(f"nothing is known of a version {version!r} of {self._name}")
        if not is_pattern(silence.rule) and silence.rule not in self._index.rules:
            raise ActRejected(
                f"{self._name} has no rule {silence.rule!r}; its rules: "
                f"{', '.join(self._index.rules) or 'none'}"
            )
        self._model.silences[silence.id] = silence
        return _Outcome(list(self._alerts.refresh_silences()), silence=silence)

    def _unsilence(self, command: AlertCommand) -> _Outcome:
        name = _params(command, _SilenceId).id
        silence = self._model.silences.pop(name, None)
        if silence is None:
            known = listed(list(self._model.silences)) or "none"
            raise ActRejected(f"no silence {name!r} is in force or to come; there are: {known}")
        return _Outcome(list(self._alerts.refresh_silences()), silence=silence)

    def _place(self, command: AlertCommand) -> OpenAlert:
        """The open alert that a command is about."""
        target = _params(command, _Target)
        if target.fingerprint is None:
            if target.rule is None or target.model_version is None:
                raise ActRejected("needs a fingerprint, or a rule and a model_version")
            name = fingerprint(self._name, target.model_version, target.segment, target.rule)
            what = f"{target.rule} of {target.model_version}, segment {target.segment},"
        else:
            name = target.fingerprint
            what = f"an alert with the fingerprint {name}"
        place = self._model.open.get(name)
        if place is None:
            texts = [
                f"{each} ({at.rule} of {at.model_version}, segment {at.segment})"
                for each, at in self._model.open.items()
            ]
            raise ActRejected(f"{what} is not open; open are: {listed(texts) or 'none'}")
        return place

    def _about(self, place: OpenAlert, before: AlertState, record: Record) -> _Outcome:
        name = fingerprint(self._name, place.model_version, place.segment, place.rule)
        return _Outcome([record], alert_id=f"{name}-{before.starts_at_ms}")


def _params(command: AlertCommand, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(command.params, kind)
    except msgspec.ValidationError as error:
        raise ActRejected(str(error).replace("$", "params")) from error


def _who(command: AlertCommand) -> str:
    reason = command.reason.strip().removesuffix(".")
    return f"{command.requested_by} ({reason})" if reason else command.requested_by


def _details(command: AlertCommand) -> dict[str, Any]:
    return {"command_id": command.command_id, "requested_by": command.requested_by}


_ACTS: Final[dict[str, Callable[[AlertActs, AlertCommand], _Outcome]]] = {
    "accept": AlertActs._accept,
    "acknowledge": AlertActs._acknowledge,
    "silence": AlertActs._silence,
    "unacknowledge": AlertActs._unacknowledge,
    "unsilence": AlertActs._unsilence,
}
