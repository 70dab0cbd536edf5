"""The registry's part of a recorded log: commands to carry out, or decisions to follow.

A replay decides anew by default and takes only commands from the log, each at the time that it
names, as a live run of fed history does. With `--follow` it decides nothing: the recorded events
hold, each from the frontier at which the live run's stage 2 took it in, which the effect records
tell. So a live run by the clock on the wall is repeated, where a command counts when it is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from driftline.agents.recorded.lines import LineFile, LogError
from driftline.agents.recorded.topic_log import (
    Decode,
    Portion,
    Position,
    TopicLog,
    exported_value,
    is_exported,
)
from driftline.schemas.decode import decode_commands
from driftline.schemas.rejects import Reject
from driftline.schemas.results import RegistryCommand, RegistryEffect, RegistryEvent
from driftline.schemas.times import parse_time
from driftline.schemas.topics import REGISTRY, REGISTRY_COMMANDS, REGISTRY_EFFECTS, REGISTRY_EVENTS
from driftline.streams.registry.model_state import Model, apply
from driftline.streams.stage import Record

_AHEAD_LINES = 1_000


class TimedCommand(Struct, frozen=True):
    """A command and its time in ms."""

    command: RegistryCommand
    timestamp_ms: int


def _decoder(latest_ms: int | None) -> Decode:
    def decode(
        values: Sequence[bytes], offsets: Sequence[int]
    ) -> tuple[list[Any], Sequence[int], list[Reject]]:
        commands, good, rejects = decode_commands(values, offsets, latest_ms)
        return (
            [TimedCommand(command, parse_time(command.timestamp)) for command in commands],
            good,
            rejects,
        )

    return decode


class RecordedCommands:
    """RecordedCommands of a log by event time: each when event time is about to pass it, in the order of
    the file.

    Parameters
    ----------
    path
        `registry-commands.jsonl`; None where the log has no commands.
    position
        Where a former run stopped.
    latest_ms
        RecordedCommands with a time after this are refused, except in an exported log.
    refused
        Takes the lines that are no commands.
    """

    def __init__(
        self,
        path: Path | None,
        position: Position,
        *,
        latest_ms: int,
        refused: Callable[[Portion], None],
    ) -> None:
        self._log = (
            TopicLog(path, (_decoder(latest_ms), _decoder(None)), position=position)
            if path
            else None
        )
        self._refused = refused

    @property
    def position(self) -> Position:
        """How far the commands have been handed out."""
        return self._log.position if self._log else Position()

    def before(self, time_ms: int | None) -> tuple[list[Record], list[Record]]:
        """Return the commands of the time before `time_ms`, all that are left for None, and no
        decided records.
        """
        commands: list[Record] = []
        while self._log is not None:
            self._log.fill(_AHEAD_LINES)
            keys = self._log.keys(_AHEAD_LINES)
            count = len(keys) if time_ms is None else int(keys.searchsorted(time_ms))
            if not count:
                break
            portion: Portion = self._log.take(count)
            commands += [Record(REGISTRY_COMMANDS, row.command) for row in portion.rows]
            self._refused(portion)
        return commands, []

    def close(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()


class RecordedDecisions:
    """Recorded decisions by the frontier from which the live run used them.

    Models are independent of each other: only the order of one model's records counts.

    Parameters
    ----------
    folder
        The recorded log.
    done
        How many effect records a former run has handed out.

    Raises
    ------
    LogError
        If a file is missing, damaged, or the effects name revisions that the events do not have.
    """

    def __init__(self, folder: Path, *, done: int = 0) -> None:
        self._path = folder / f"{REGISTRY_EVENTS}.jsonl"
        self._events: dict[str, deque[RegistryEvent]] = {}
        for event in _all(self._path, RegistryEvent):
            self._events.setdefault(event.model_name, deque()).append(event)
        effects = _all(folder / f"{REGISTRY_EFFECTS}.jsonl", RegistryEffect)
        self._effects = sorted(
            ((parse_time(effect.frontier), effect) for effect in effects), key=itemgetter(0)
        )
        self._models: dict[str, Model] = {}
        self.done = 0
        while self.done < done:
            self._next()

    def before(self, time_ms: int | None) -> tuple[list[Record], list[Record]]:
        """Return no commands, and the records of the decisions that the live run used before
        `time_ms`.
        """
        records: list[Record] = []
        while self.done < len(self._effects) and (
            time_ms is None or self._effects[self.done][0] < time_ms
        ):
            records += self._next()
        if time_ms is None:
            for events in self._events.values():
                while events:
                    records += self._take(events.popleft())
        return [], records

    def _next(self) -> list[Record]:
        """The model's events and entries up to the next effect record."""
        effect = self._effects[self.done][1]
        self.done += 1
        events = self._events.get(effect.model_name, deque())
        records: list[Record] = []
        while self._model(effect.model_name).revision < effect.revision:
            if not events:
                raise LogError(
                    f"{self._path}: has no revision {effect.revision} of {effect.model_name}, which an effect record names; export it again"
                )
            records += self._take(events.popleft())
        return records

    def _take(self, event: RegistryEvent) -> list[Record]:
        before = self._model(event.model_name)
        after = apply(before, event)
        records = [Record(REGISTRY_EVENTS, event)]
        if after is not before:
            self._models[event.model_name] = after
            entries = [after.entry(version) for version in event.after or {}]
            records += [Record(REGISTRY, entry) for entry in entries]
        return records

    def _model(self, model_name: str) -> Model:
        return self._models.get(model_name) or Model(model_name)


def _all(path: Path, kind: type[Any]) -> list[Any]:
    """Every value of a small topic, plain or exported."""
    decode = msgspec.json.Decoder(kind).decode
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
