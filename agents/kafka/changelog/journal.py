"""The changelog of a task: a journal of its commits, from which its state is restored.

A commit is written in the transaction of its outputs, as one or more records of at most
PIECE_BYTES: pieces of the encoded state changes, and finally a `Closing` with the last piece, the
positions of all inputs after the commit, and the data that a restore needs. Readers see committed
records only, and one task writes at a time (all others are fenced), so the journal is a gapless
sequence of numbered commits. A restore reads it in order and applies whole commits; it ends with
the state of the last one.

Compaction (`journal_compaction.py`) keeps the journal short: `Closing.restorable_from` is the
offset from which reading the journal into an empty state gives the same state as reading all of it.
Records before that offset are deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

FORMAT: Final = 3
# A broker takes 1 MiB a record by default.
PIECE_BYTES: Final = 900_000
_CLOSING: Final = b"commit"


class JournalError(Exception):
    """The journal is not readable; the message says what is wrong and what to do."""


class Closing(Struct, array_like=True, frozen=True):
    """The last record of a commit.

    Attributes
    ----------
    format
        Version of the journal's layout.
    state_format
        Formats of the state, see `state_format.py`.
    number
        Number of the commit, without gaps.
    pieces
        Number of records of the commit before this one.
    positions
        Next offset of each input topic, without prefix.
    restorable_from
        Journal offset from which a restore of this commit is complete.
    log_bytes
        Size of the journal from there to the end of this commit, before compression.
    live_bytes
        Size of the state at the end of the last compaction sweep.
    changes
        The last piece.
    topic_ids
        Id of each input topic in which `positions` count; a topic that was created again under the
        same name has another one.
    """

    format: int
    state_format: str
    number: int
    pieces: int
    positions: dict[str, int]
    restorable_from: int
    log_bytes: int
    live_bytes: int
    changes: bytes
    topic_ids: dict[str, str] = {}


class Commit(Struct, frozen=True):
    """A whole commit, read from the journal.

    Attributes
    ----------
    closing
        Its last record, without `changes`.
    changes
        Encoded changes by stage.
    next
        Journal offset after the commit.
    """

    closing: Closing
    changes: dict[str, bytes]
    next: int


_encode = msgspec.msgpack.Encoder().encode
_decode_closing = msgspec.msgpack.Decoder(Closing).decode
_decode_changes = msgspec.msgpack.Decoder(dict[str, bytes]).decode
_decode_versions = msgspec.msgpack.Decoder(list[Any]).decode


def records_of(closing: Closing, changes: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    """Keys and values of the records of a commit, in order.

    Parameters
    ----------
    closing
        The last record; `pieces` and `changes` are filled in.
    changes
        Encoded changes by stage.
    """
    data = _encode(changes)
    pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
    last = _encode(msgspec.structs.replace(closing, pieces=len(pieces) - 1, changes=pieces[-1]))
    records = [
        (b"%d/%d" % (closing.number, index), piece) for index, piece in enumerate(pieces[:-1])
    ]
    return [*records, (b"%d/%b" % (closing.number, _CLOSING), last)]


def closing_of(key: bytes | None, value: bytes | None) -> Closing | None:
    """The end of a commit in a journal record; None for other records and other formats."""
    if value is None or not (key or b"").endswith(b"/" + _CLOSING):
        return None
    layout = _decode_versions(value)
    return _decode_closing(value) if layout and layout[0] == FORMAT else None


class Assembly:
    """Assembles the records of a journal to commits.

    Parameters
    ----------
    name
        The topic partition, for messages.
    after
        Number of the last applied commit; None to begin with any commit.
    """

    def __init__(self, name: str, after: int | None = None) -> None:
        self._name = name
        self._number = after
        self._pieces: list[bytes] = []

    def add(self, offset: int, key: bytes | None, value: bytes | None) -> Commit | None:
        """Add the next record; returns the commit that it completes, if any.

        Raises
        ------
        JournalError
            If the record does not follow its predecessor, or has a foreign format.
        """
        number, _, part = (key or b"").partition(b"/")
        if value is None or not number.isdigit() or not (part.isdigit() or part == _CLOSING):
            raise JournalError(
                f"{self._name}@{offset}: is not a journal record; only the tasks of this program "
                "may write there"
            )
        expected = None if self._number is None else self._number + 1
        if (expected is not None and int(number) != expected) or (
            part != _CLOSING and int(part) != len(self._pieces)
        ):
            raise JournalError(
                f"{self._name}@{offset}: has record {(key or b'').decode()}, expected piece "
                f"{len(self._pieces)} of commit "
                f"{'any' if expected is None else expected}; records of the changelog are missing"
            )
        if part != _CLOSING:
            self._pieces.append(value)
            return None
        layout = _decode_versions(value)
        if not layout or layout[0] != FORMAT:
            found = layout[0] if layout else "none"
            raise JournalError(
                f"{self._name}@{offset}: has journal format {found}, this release reads {FORMAT}; "
                "run the release that wrote it"
            )
        closing = _decode_closing(value)
        if closing.pieces != len(self._pieces):
            raise JournalError(
                f"{self._name}@{offset}: commit {closing.number} has {closing.pieces} pieces, "
                f"{len(self._pieces)} were read"
            )
        changes = _decode_changes(
            b"".join([*self._pieces, closing.changes]) if self._pieces else closing.changes
        )
        self._pieces, self._number = [], closing.number
        return Commit(msgspec.structs.replace(closing, changes=b""), changes, offset + 1)
