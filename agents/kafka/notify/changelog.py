"""The changelog of the notifier: a compacted topic of one partition with a record for each key of
the state, a tombstone for each deleted one, and one record with the positions in the inputs.

It is small, since closed groups are deleted, and is read as a whole by each new owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.ranges import offset_ranges, read_all
from driftline.agents.kafka.broker.task_kinds import INPUTS, NOTIFY
from driftline.agents.kafka.broker.topics import changelog
from driftline.agents.state.dict_state import MemoryState

FORMAT: Final = 1
ANEW: Final = (
    "run the release that wrote it, or delete the topic and create it again (driftline topics "
    "create): notifications then begin anew with what is open"
)
POSITIONS_KEY: Final = b"positions"
_STATE: Final = b"state/"
_PARTITION: Final = 0


class _Head(Struct):
    format: int | None = None


class Positions(Struct, frozen=True, kw_only=True):
    """Where the notifier reads on.

    Attributes
    ----------
    format
        Version of the changelog's layout.
    offsets
        Next offset by topic without prefix and partition.
    topic_ids
        Id of each topic in which they count.
    """

    format: int
    offsets: dict[str, dict[int, int]]
    topic_ids: dict[str, str]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Positions).decode
_decode_head = msgspec.json.Decoder(_Head).decode


class ChangelogState(MemoryState):
    """State of the planner, with the keys that changed since the last commit."""

    def __init__(self, values: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self.values.update(values)
        self._changed: dict[bytes, None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self.put_many([key], [value])

    def put_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set the values of several keys."""
        for key, value in zip(keys, values, strict=True):
            if self.values.get(key) != value:
                self._changed[key] = None
        super().put_many(keys, values)

    def delete(self, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self.pop_many([key])

    def pop_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Remove several keys and return their values, None where there was none."""
        self._changed |= {key: None for key in keys if key in self.values}
        return super().pop_many(keys)

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key from `start` (included) to `end` (excluded)."""
        self.pop_many([key for key in self.values if start <= key < end])

    def take_changes(self) -> dict[bytes, bytes | None]:
        """Keys that changed since the last call, with their values now; None for deleted ones."""
        changed = {key: self.values.get(key) for key in self._changed}
        self._changed.clear()
        return changed


def records_of(
    connection: Connection, changes: Mapping[bytes, bytes | None], positions: Positions | None
) -> list[Outgoing]:
    """The records that write changes of the state, and positions if they have moved."""
    topic = changelog(connection.settings, NOTIFY)
    records = [Outgoing(topic, _PARTITION, _STATE + key, value) for key, value in changes.items()]
    if positions is not None:
        records.append(Outgoing(topic, _PARTITION, POSITIONS_KEY, _encode(positions)))
    return records


def restored(connection: Connection) -> tuple[ChangelogState, Positions | None]:
    """State and positions according to the changelog; None before the first commit.

    Raises
    ------
    MustStop
        If another release wrote it.
    KafkaException
        If the broker does not answer.
    """
    values, positions = _read(connection)
    return ChangelogState(values), positions


def unread_inputs(connection: Connection) -> dict[tuple[str, int], int]:
    """Records that the notifier has not taken, by topic and partition.

    Raises
    ------
    MustStop, KafkaException
        As `restored`.
    """
    positions = _read(connection)[1]
    offsets = {} if positions is None else positions.offsets
    return {
        (topic, log.partition): max(
            0, log.end - offsets.get(topic, {}).get(log.partition, log.start)
        )
        for topic, logs in offset_ranges(connection, INPUTS[NOTIFY]).items()
        for log in logs
    }


def _read(connection: Connection) -> tuple[dict[bytes, bytes], Positions | None]:
    topic = changelog(connection.settings, NOTIFY)
    values: dict[bytes, bytes] = {}
    positions = None
    for _, message in read_all(connection, offset_ranges(connection, [topic])[topic]):
        key, value = message.key() or b"", message.value()
        if key == POSITIONS_KEY and value is not None:
            positions = value
        elif value is None:
            values.pop(key.removeprefix(_STATE), None)
        else:
            values[key.removeprefix(_STATE)] = value
    if positions is None:
        return values, None
    found = _decode_head(positions).format
    if found != FORMAT:
        raise MustStop(
            failures.CONFIGURATION,
            f"{connection.name(topic)}: has the format {found}, this release reads {FORMAT}; "
            f"{ANEW}",
        )
    return values, _decode(positions)
