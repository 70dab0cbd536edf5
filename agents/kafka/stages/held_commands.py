"""Commands that are not in force yet, kept in the state of their task in the order in which they
were read.

Under the data clock a command takes effect at its own timestamp, as in a replay: before the first
pane that is completed after it. Commands of one topic keep their order, so a command with an
earlier timestamp than its predecessor waits for the predecessor.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Final

import msgspec

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.schemas.decode import SIDE_DECODERS
from driftline.schemas.topics import ALERT_COMMANDS, COMMANDS, REGISTRY_COMMANDS
from driftline.streams.stage import Record, State

# The registry's own keys are MessagePack arrays, which begin with another byte.
_QUEUES: Final = {REGISTRY_COMMANDS: b"held", ALERT_COMMANDS: b"alert"}
QUEUE_FORMAT: Final = 1


class _Queue(msgspec.Struct, array_like=True):
    """Numbers of the first held command and of the next one to add, and the largest timestamp so
    far.
    """

    format: int = QUEUE_FORMAT
    first: int = 0
    next: int = 0
    high_ms: int = 0


class _HeldCommand(msgspec.Struct, array_like=True):
    """Bytes of a command as received, and the largest timestamp up to and including it."""

    time_ms: int
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_queue = msgspec.msgpack.Decoder(_Queue).decode
_decode_command = msgspec.msgpack.Decoder(_HeldCommand).decode


class HeldCommands:
    """The held commands of one task, stored in its state.

    Parameters
    ----------
    state
        State of the registry stage, which holds the commands until they are executed.

    Raises
    ------
    StateFormatError
        If another release wrote the commands in another format.
    """

    def __init__(self, state: State) -> None:
        self._queues = {topic: _HeldTopic(state, topic) for topic in COMMANDS}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, topic: str, time_ms: int, value: bytes) -> None:
        """Append a valid command; `value` holds its bytes on the topic."""
        self._queues[topic].add(time_ms, value)

    @property
    def next_ms(self) -> int | None:
        """Time at which the first command is due; None without one."""
        return min(
            (each for queue in self._queues.values() if (each := queue.next_ms) is not None),
            default=None,
        )

    def release_before(self, time_ms: int | None) -> list[Record]:
        """Remove and return the commands due before `time_ms`, in the order of time; all commands
        for None.
        """
        released = [
            each for queue in self._queues.values() for each in queue.release_before(time_ms)
        ]
        released.sort(key=itemgetter(0))
        return [command for _, command in released]


class _HeldTopic:
    """The held commands of one topic."""

    def __init__(self, state: State, topic: str) -> None:
        self._state, self._topic = state, topic
        held = state.get(_QUEUES[topic])
        self._queue = _Queue() if held is None else _decode_queue(held)
        if self._queue.format != QUEUE_FORMAT:
            raise StateFormatError(
                f"registry: held commands have format {self._queue.format}, this release needs "
                f"{QUEUE_FORMAT}; run the release that wrote them, or give the program another "
                "kafka.app, under which it starts anew from the input topics"
            )
        self._due_ms: int | None = None

    def __len__(self) -> int:
        return self._queue.next - self._queue.first

    def add(self, time_ms: int, value: bytes) -> None:
        queue = self._queue
        queue.high_ms = max(queue.high_ms, time_ms)
        self._state.put(self._key(queue.next), _encode(_HeldCommand(queue.high_ms, value)))
        queue.next += 1
        self._write()

    @property
    def next_ms(self) -> int | None:
        """As `HeldCommands.next_ms`."""
        return self._first_ms() if len(self) else None

    def release_before(self, time_ms: int | None) -> list[tuple[int, Record]]:
        """As `HeldCommands.release_before`, each with the largest timestamp up to its own."""
        commands: list[tuple[int, Record]] = []
        queue, decode = self._queue, SIDE_DECODERS[self._topic]
        while queue.first < queue.next and (time_ms is None or self._first_ms() < time_ms):
            (command,), _, _ = decode([self._first_command().value], [queue.first])
            commands.append((self._first_ms(), Record(self._topic, command)))
            self._state.delete(self._key(queue.first))
            queue.first += 1
            self._due_ms = None
        if commands:
            self._write()
        return commands

    def _first_ms(self) -> int:
        if self._due_ms is None:
            self._due_ms = self._first_command().time_ms
        return self._due_ms

    def _first_command(self) -> _HeldCommand:
        held = self._state.get(self._key(self._queue.first))
        if held is None:
            raise ValueError(
                f"registry: held command {self._queue.first} of {self._topic} is missing from the "
                "state"
            )
        return _decode_command(held)

    def _write(self) -> None:
        self._state.put(_QUEUES[self._topic], _encode(self._queue))

    def _key(self, number: int) -> bytes:
        return _QUEUES[self._topic] + number.to_bytes(8, "big")
