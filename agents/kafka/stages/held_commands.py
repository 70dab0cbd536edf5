"""Registry commands that are not in force yet, kept in the state of their task in the order in
which they were read.

Under the data clock a command takes effect at its own timestamp, as in a replay: before the first
pane that is completed after it. Commands keep their order, so a command with an earlier timestamp
than its predecessor waits for the predecessor.
"""

from __future__ import annotations

from typing import Final

import msgspec

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.schemas.decode import decode_commands
from driftline.schemas.topics import REGISTRY_COMMANDS
from driftline.streams.stage import Record, State

# The registry's own keys are MessagePack arrays, which begin with another byte.
_QUEUE: Final = b"held"
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
        self._state = state
        held = state.get(_QUEUE)
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
        """Append a valid command; `value` holds its bytes on the topic."""
        queue = self._queue
        queue.high_ms = max(queue.high_ms, time_ms)
        self._state.put(_key(queue.next), _encode(_HeldCommand(queue.high_ms, value)))
        queue.next += 1
        self._write()

    @property
    def next_ms(self) -> int | None:
        """Time at which the first command is due; None without one."""
        return self._first_ms() if len(self) else None

    def release_before(self, time_ms: int | None) -> list[Record]:
        """Remove and return the commands due before `time_ms`; all commands for None."""
        commands: list[Record] = []
        queue = self._queue
        while queue.first < queue.next and (time_ms is None or self._first_ms() < time_ms):
            (command,), _, _ = decode_commands([self._first_command().value], [queue.first])
            commands.append(Record(REGISTRY_COMMANDS, command))
            self._state.delete(_key(queue.first))
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
        held = self._state.get(_key(self._queue.first))
        if held is None:
            raise ValueError(
                f"registry: held command {self._queue.first} is missing from the state"
            )
        return _decode_command(held)

    def _write(self) -> None:
        self._state.put(_QUEUE, _encode(self._queue))


def _key(number: int) -> bytes:
    return _QUEUE + number.to_bytes(8, "big")
