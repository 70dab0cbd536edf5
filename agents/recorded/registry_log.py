"""The commands of a recorded log, to execute; or what a live run made of them, to follow.

By default a replay executes the commands of the log, each at the time in its record, as a live run
on recorded history does. With `--follow` it executes none: each recorded event is in force from the
frontier at which stage 2 of the live run used it, which the effect records give, and so is each
recorded change of rules; each alert command that was answered is executed at the frontier in its
answer; each action is the recorded one. Reports are judged anew, each at its own time, in the
order of the topic. This repeats a live run on the wall clock, where a command
counts when it is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from driftline.agents.recorded.export_manifest import SETTINGS_FILE
from driftline.agents.recorded.lines import LineFile, LogError
from driftline.agents.recorded.topic_log import (
    Decode,
    Portion,
    Position,
    TopicLog,
    exported_value,
    is_exported,
)
from driftline.schemas.actions import Action
from driftline.schemas.alert_commands import AlertCommand, AlertEvent
from driftline.schemas.decode import SIDE_DECODERS
from driftline.schemas.rejects import Reject, RowNote
from driftline.schemas.reports import SUBJECTS, JobRun, WorkerMetrics
from driftline.schemas.results import (
    ReferenceProfile,
    RegistryCommand,
    RegistryEffect,
    RegistryEvent,
    decoder,
)
from driftline.schemas.setting_changes import decisions_of, recorded_settings, with_decisions
from driftline.schemas.settings import Config
from driftline.schemas.times import parse_time
from driftline.schemas.topics import (
    ACTIONS,
    ALERT_COMMANDS,
    ALERT_EVENTS,
    REFERENCE_PROFILES,
    REGISTRY_EFFECTS,
    REGISTRY_EVENTS,
    SIDE_INPUTS,
)
from driftline.streams.decide.alert_acts import ReceivedCommand
from driftline.streams.lanes import NO_MODEL
from driftline.streams.registry.model_state import RegisteredModel
from driftline.streams.stage import Record

_AHEAD_LINES = 1_000
_NAMED = 3


class TimedCommand(Struct, frozen=True):
    """A command or a report, and its event time."""

    command: RegistryCommand | AlertCommand | WorkerMetrics | JobRun
    timestamp_ms: int


def _decoder(topic: str, latest_ms: int | None) -> Decode:
    def decode(
        values: Sequence[bytes | None], offsets: Sequence[int], *, notes: list[RowNote] | None
    ) -> tuple[list[Any], Sequence[int], list[Reject]]:
        commands, good, rejects = SIDE_DECODERS[topic](values, offsets, latest_ms)
        return (
            [TimedCommand(command, parse_time(command.timestamp)) for command in commands],
            good,
            rejects,
        )

    return decode


class RecordedCommands:
    """Commands of a log, each when event time is about to pass its own: in the order of time, those
    of one topic in the order of its file.

    Parameters
    ----------
    files
        Files of the log by topic; the log may lack commands.
    positions
        Where an earlier run stopped, by topic.
    latest_ms
        Commands with a later time are rejected, except in an exported log.
    write_rejected
        Called with the topic and each portion that was read, for its rejected lines.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        positions: Mapping[str, Position],
        *,
        latest_ms: int,
        write_rejected: Callable[[str, Portion], None],
    ) -> None:
        self._logs = {
            topic: TopicLog(
                files[topic],
                (_decoder(topic, latest_ms), _decoder(topic, None)),
                position=positions.get(topic),
            )
            for topic in SIDE_INPUTS
            if topic in files
        }
        self._write_rejected = write_rejected

    @property
    def positions(self) -> dict[str, Position]:
        """Positions after the commands that `before` returned, by topic."""
        return {topic: log.position for topic, log in self._logs.items()}

    @property
    def next_ms(self) -> int | None:
        """Time before which `before` has nothing more to return; None at the end of the files."""
        first: list[int] = []
        for log in self._logs.values():
            log.fill(1)
            first += log.keys(1).tolist()
        return min(first, default=None)

    def before(self, time_ms: int | None) -> tuple[list[Record], list[Record]]:
        """Commands before `time_ms`, all remaining ones for None; and no records of a live run."""
        return [command for _, command in self.timed_before(time_ms)], []

    def timed_before(self, time_ms: int | None) -> list[tuple[int, Record]]:
        """Commands before `time_ms`, with the largest time in their file up to each."""
        timed = [each for topic in self._logs for each in self._timed(topic, time_ms)]
        return sorted(timed, key=itemgetter(0))

    def _timed(self, topic: str, time_ms: int | None) -> Iterator[tuple[int, Record]]:
        """The next commands of a topic, each with its key in the log."""
        log = self._logs[topic]
        while True:
            log.fill(_AHEAD_LINES)
            keys = log.keys(_AHEAD_LINES)
            count = len(keys) if time_ms is None else int(keys.searchsorted(time_ms))
            if not count:
                return
            portion: Portion = log.take(count)
            for key_ms, row in zip(portion.key.tolist(), portion.rows, strict=True):
                yield key_ms, Record(topic, row.command)
            self._write_rejected(topic, portion)

    def close(self) -> None:
        """Close the files."""
        for log in self._logs.values():
            log.close()


class RecordedDecisions:
    """Registry records, alert commands and actions of a live run, each from the frontier at which
    its stages used it, actions from their own time on; and reports, those of one time first.

    Models are independent of each other: only the order of one model's records counts.

    Parameters
    ----------
    folder
        The recorded log.
    reports
        What was reported in it.
    done
        Number of effect records, alert commands and actions that an earlier call applied.

    Raises
    ------
    LogError
        If a file is missing or damaged, or the log lacks a revision that an effect record names or
        a profile that an event names.
    """

    def __init__(self, folder: Path, reports: RecordedCommands, *, done: int = 0) -> None:
        self._reports = reports
        self._events_path = folder / f"{REGISTRY_EVENTS}.jsonl"
        self._profiles_path = folder / f"{REFERENCE_PROFILES}.jsonl"
        self._events: dict[str, deque[RegistryEvent]] = {}
        for event in _read_all(self._events_path, RegistryEvent):
            self._events.setdefault(event.model_name, deque()).append(event)
        self._profiles: dict[tuple[str, str], ReferenceProfile | None] = {
            (profile.model_name, profile.reference_id): profile
            for profile in _read_all(self._profiles_path, ReferenceProfile)
        }
        """By model and reference id; None after its first use."""
        self._steps = _steps(
            [_placed(effect, self._events) for effect in _effects_of_models(folder)],
            _read_any(folder / f"{ALERT_EVENTS}.jsonl", AlertEvent),
            _read_any(folder / f"{ACTIONS}.jsonl", Action),
        )
        self._models: dict[str, RegisteredModel] = {}
        self.done = 0
        while self.done < done:
            self._apply_next()

    @property
    def next_ms(self) -> int | None:
        """Time of the next effect record, alert command, action or report; None after the last
        one.
        """
        own_ms = self._steps[self.done][0] if self.done < len(self._steps) else None
        both_ms = own_ms, self._reports.next_ms
        return min((each_ms for each_ms in both_ms if each_ms is not None), default=None)

    @property
    def positions(self) -> dict[str, Position]:
        """Positions after the reports that `before` returned, by topic."""
        return self._reports.positions

    def before(self, time_ms: int | None) -> tuple[list[Record], list[Record]]:
        """No commands apart; and the registry records and alert commands that the live run used
        before `time_ms`, and its actions and reports until then, or all remaining ones for None.
        """
        timed = self._reports.timed_before(time_ms)
        while self.done < len(self._steps) and (
            time_ms is None or self._steps[self.done][0] < time_ms
        ):
            at_ms = self._steps[self.done][0]
            timed += [(at_ms, record) for record in self._apply_next()]
        records = [record for _, record in sorted(timed, key=itemgetter(0))]
        if time_ms is None:
            for events in self._events.values():
                while events:
                    records += self._apply(events.popleft())
        return [], records

    def _apply_next(self) -> list[Record]:
        """The next alert command or action; or records of the model's events up to the revision of
        the next effect record, and the record itself where it puts changed settings in force.
        """
        effect = self._steps[self.done][1]
        self.done += 1
        if isinstance(effect, AlertEvent):
            return [Record(ALERT_COMMANDS, _received(effect))]
        if isinstance(effect, Action):
            return [Record(ACTIONS, effect)]
        events = self._events.get(effect.model_name, deque())
        records: list[Record] = []
        while self._model(effect.model_name).revision < effect.revision:
            if not events:
                raise LogError(
                    f"{self._events_path}: has no revision {effect.revision} of "
                    f"{effect.model_name}, which an effect record names; export it again"
                )
            records += self._apply(events.popleft())
        if effect.settings is not None:
            records.append(Record(REGISTRY_EFFECTS, effect))
        return records

    def _apply(self, event: RegistryEvent) -> list[Record]:
        """The records that the live run emitted with an event."""
        model = self._model(event.model_name)
        try:
            changed = model.apply(event)
        except ValueError as error:
            raise LogError(f"{self._events_path}: {error}; export it again") from error
        records = [
            Record(REFERENCE_PROFILES, profile)
            for version in changed
            if (profile := self._profile(event, version)) is not None
        ]
        records.append(Record(REGISTRY_EVENTS, event))
        if changed:  # a dry run has fields too
            records += model.in_force(event)
        return records

    def _profile(self, event: RegistryEvent, version: str) -> ReferenceProfile | None:
        """The profile that an event names for the first time."""
        reference_id = (event.after or {})[version].get("reference_id")
        if reference_id is None:
            return None
        key = (event.model_name, reference_id)
        if key not in self._profiles:
            raise LogError(
                f"{self._profiles_path}: has no profile {reference_id!r} of {event.model_name}, "
                f"which its revision {event.revision} names; export it again"
            )
        profile, self._profiles[key] = self._profiles[key], None
        return profile

    def _model(self, model_name: str) -> RegisteredModel:
        model = self._models.get(model_name)
        if model is None:
            model = self._models[model_name] = RegisteredModel(model_name)
        return model


def _steps(
    effects: Sequence[RegistryEffect], answers: Sequence[AlertEvent], actions: Sequence[Action]
) -> list[tuple[int, RegistryEffect | AlertEvent | Action]]:
    """Effects and answered alert commands with their frontiers, and actions with their times, in
    the order of these; those of one model and frontier in the order of revisions, an alert command
    after the effect of its revision. Actions of one model keep their order.
    """
    waiting: dict[str, deque[AlertEvent]] = {}
    for answer in answers:
        waiting.setdefault(answer.model_name, deque()).append(answer)
    steps: list[tuple[int, RegistryEffect | AlertEvent | Action]] = []
    for effect in sorted(effects, key=lambda each: parse_time(each.frontier)):
        at_ms, of_model = parse_time(effect.frontier), waiting.get(effect.model_name, deque())
        while of_model and (parse_time(of_model[0].frontier), of_model[0].registry_revision) < (
            at_ms,
            effect.revision,
        ):
            steps.append((parse_time(of_model[0].frontier), of_model.popleft()))
        steps.append((at_ms, effect))
    steps += [
        (parse_time(answer.frontier), answer)
        for of_model in waiting.values()
        for answer in of_model
    ]
    reached_ms: dict[str, int] = {}
    for action in actions:
        at_ms = max(int(action.at_ms), reached_ms.get(action.model_name, 0))
        reached_ms[action.model_name] = at_ms
        steps.append((at_ms, action))
    return sorted(steps, key=itemgetter(0))


def _placed(
    effect: RegistryEffect, events: Mapping[str, Sequence[RegistryEvent]]
) -> RegistryEffect:
    """An effect as it is; of what has reports and no counts, at the time of its command."""
    if effect.model_name not in SUBJECTS:
        return effect
    at = [e.at for e in events.get(effect.model_name, ()) if e.revision == effect.revision]
    return msgspec.structs.replace(effect, frontier=at[0]) if at else effect


def _read_any(path: Path, kind: type[Any]) -> list[Any]:
    """As `_read_all`, of a topic that the log may lack."""
    return _read_all(path, kind) if path.is_file() else []


def _received(answer: AlertEvent) -> ReceivedCommand:
    """The command of an answer, with the frontier at which it was carried out."""
    command = AlertCommand(
        command_id=answer.command_id,
        command=answer.command,
        model_name=answer.model_name,
        timestamp=answer.at,
        requested_by=answer.requested_by,
        params=answer.params,
        reason=answer.reason,
    )
    return ReceivedCommand(command, parse_time(answer.frontier))


def at_the_beginning(config: Config, folder: Path) -> Config:
    """The settings with which a recorded live run began: with the rules, default_rules, tuner and
    policy of each model that were in force before they were changed for the first time.

    Parameters
    ----------
    config
        The settings with which the live run ended.
    folder
        The recorded log.

    Raises
    ------
    LogError
        If the configuration has other ones than the live run had at its end.
    """
    first: dict[str, dict[str, Any]] = {}
    last: dict[str, dict[str, Any]] = {}
    for effect in _effects_of_models(folder):
        if effect.settings is not None and effect.settings_before is not None:
            first.setdefault(effect.model_name, effect.settings_before)
            last[effect.model_name] = effect.settings
    recorded = recorded_settings(config)
    for model, settings in last.items():
        wanted = decisions_of(recorded, model)
        changed = [key for key in wanted if wanted[key] != settings.get(key)]
        if changed:
            raise LogError(
                f"{folder / REGISTRY_EFFECTS}.jsonl: the live run ended with other settings of "
                f'"{model}" ({", ".join(changed)}) than the configuration has; use the '
                f"{SETTINGS_FILE} of the export, or replay without --follow"
            )
    models = {
        model: with_decisions(config.for_model(model), settings)
        for model, settings in first.items()
    }
    return msgspec.structs.replace(config, models=config.models | models)


def unfollowed_note(path: Path) -> str | None:
    """What a replay that executes the commands of a log did not follow, in one sentence; None if
    the log has no effects of a recorded run.

    Parameters
    ----------
    path
        `registry-effects.jsonl`, which need not exist.
    """
    if not path.exists():
        return None
    try:
        effects = _effects_of_models(path.parent)
    except LogError as error:
        return f"{error}; --follow (in Python: follow=True) needs the file"
    changed = sorted({effect.model_name for effect in effects if effect.settings is not None})
    if not effects:
        return None
    rules = ""
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        names = ", ".join(changed[:_NAMED]) + more
        rules = f" and used the given rules, tuner and policy, which were changed for {names},"
        rules += " throughout"
    return (
        f"{len(effects):,} registry effects of the recorded run were not followed: this run "
        f"executed the commands at their times{rules}; --follow (in Python: follow=True) puts each "
        "in force where the recorded run did"
    )


def _effects_of_models(folder: Path) -> list[RegistryEffect]:
    """The effect records of a log, without those of the whole program."""
    effects = _read_all(folder / f"{REGISTRY_EFFECTS}.jsonl", RegistryEffect)
    return [effect for effect in effects if effect.model_name != NO_MODEL]


def _read_all(path: Path, kind: type[Any]) -> list[Any]:
    """Every value of a small topic, plain or exported."""
    decode = decoder(kind).decode
    exported = is_exported(path)
    values: list[Any] = []
    with LineFile(path) as file:
        while (lines := file.read()) is not None:
            for line in lines.values:
                try:
                    values.append(decode(exported_value(line) if exported else line))
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise LogError(
                        f"{path}: line {len(values)} is no {kind.__name__} ({error})"
                    ) from error
    return values
