"""One topic of a recorded log: decoded lines with their order keys, a portion at a time.

A recorded log is a folder with one `<topic>.jsonl` per topic, one value a line. A plain file is one
sequence: the line number, from 0, is the offset, and the partition of a row follows from its key. A
file that an export wrote keeps partition and offset beside each value; each of its lines is an
`ExportedLine`, in the order in which the partitions' heads merge by event time. Merging topics is
`merge.py`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from driftline.agents.recorded.lines import LineFile, Lines, LogError
from driftline.schemas.rejects import Reason, Reject
from driftline.streams.columns import joined

Indexes = NDArray[np.int64]
# (values, offsets) -> rows, the index of each row among the values, and the rest with reasons.
Decode = Callable[[Sequence[bytes], Sequence[int]], tuple[list[Any], Sequence[int], list[Reject]]]

AsColumns = Callable[[list[Any], Indexes], Any]

# Rows of a batch may be large: what is read ahead is bounded in bytes too.
MAX_AHEAD_BYTES: Final = 32 << 20


class LiveReject(Struct, frozen=True):
    """Why the live run refused a value."""

    reason: Reason
    error: str = ""


class ExportedLine(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of an exported log: the value as it was on the topic, and where.

    `value` holds the bytes of a value that is one line of JSON, `value_base64` those of any other.
    `refused` marks what the live run sent to its dead-letter topic; a replay refuses it for the
    same reason. Without `partition` the key decides, as in a plain file.
    """

    offset: int
    partition: int | None = None
    value: Raw = Raw()
    value_base64: str | None = None
    refused: LiveReject | None = None


class Position(Struct, frozen=True):
    """How far a topic's file has been read: bytes, lines, and the running maximum of event time in
    ms (0: no row yet).
    """

    byte: int = 0
    line: int = 0
    high_ms: int = 0


class Portion(Struct, gc=False):
    """Consecutive lines of one topic, M of them, with N valid rows among them.

    Attributes
    ----------
    rows
        The valid rows: columns of predictions or ground truths, else a list of what was decoded.
    line, offset, partition
        Shape (N,): of each row its line number, its offset, and its partition where the file says
        so, else -1.
    key
        Shape (N,): running maximum of event time in the file up to and including each row.
    raw
        The bytes of the rows, in parts: values, and which of them, from the first to the last
        exclusively.
    rejects, reject_partition
        The other lines, in order, and the recorded partition of each, 0 in a plain file.
    reject_line
        Line number of each.
    """

    rows: Any
    line: Indexes
    offset: Indexes
    partition: Indexes
    key: Indexes
    raw: list[tuple[list[bytes], int, int]]
    rejects: list[Reject]
    reject_partition: list[int]
    reject_line: list[int]

    def value(self, row: int) -> bytes:
        """The bytes of a row."""
        for values, begin, end in self.raw:
            if row < end - begin:
                return values[begin + row]
            row -= end - begin
        raise IndexError("the portion has fewer rows")


class _Block(Struct, gc=False):
    """What one read gave:

    `keys` for every line, the rest for rows as in `Portion`; `at` is the line of a row in the
    block.
    """

    lines: Lines
    keys: Indexes
    at: Indexes
    rows: Any
    raw: list[bytes]
    offset: Indexes
    partition: Indexes
    rejects: list[Reject]
    reject_at: list[int]
    reject_partition: list[int]


class TopicLog:
    """A topic's file, decoded ahead in bounded memory and taken in portions.

    Parameters
    ----------
    path
        The file.
    decode
        Decode values of the topic: of a plain file, and of one that an export wrote.
    columns
        Makes columns of decoded rows, their bytes and their offsets; without it they stay a list.
    position
        Where to start.

    Raises
    ------
    LogError
        If the file cannot be opened, or is shorter than `position`.
    """

    def __init__(
        self,
        path: Path,
        decode: tuple[Decode, Decode],
        *,
        columns: AsColumns | None = None,
        position: Position | None = None,
    ) -> None:
        self.path = path
        self._columns = columns
        self.position = position or Position()
        self.exported = is_exported(path)
        self._decode = decode[1] if self.exported else decode[0]
        self._lines = LineFile(path, byte=self.position.byte)
        self._blocks: list[_Block] = []
        self._used = 0  # lines of the first block that have been taken
        self._next_line = self.position.line
        self._high_ms = self.position.high_ms
        self.buffered = 0

    @property
    def exhausted(self) -> bool:
        """True when everything that the file has is buffered or taken."""
        return self._lines.ended

    def fill(self, lines: int) -> None:
        """Read ahead until `lines` lines are buffered, or MAX_AHEAD_BYTES with at least one line,
        or the file ends.
        """
        while self.buffered < lines and (
            not self.buffered
            or sum(block.lines.size_bytes for block in self._blocks) < MAX_AHEAD_BYTES
        ):
            chunk = self._lines.read()
            if chunk is None:
                return
            self._blocks.append(self._decoded(chunk))
            self.buffered += len(chunk.values)

    def keys(self, lines: int) -> Indexes:
        """Running maxima of event time of the next buffered lines, valid or not, at most `lines` of
        them.
        """
        if not self._blocks:
            return np.empty(0, np.int64)
        first = self._blocks[0].keys[self._used :]
        return np.concatenate([first, *(block.keys for block in self._blocks[1:])])[:lines]

    def take(self, lines: int) -> Portion:
        """Take the next `lines` buffered lines and move the position behind them."""
        parts: list[Portion] = []
        start = self.position.line
        while lines:
            block = self._blocks[0]
            begin, end = self._used, min(self._used + lines, len(block.keys))
            parts.append(_cut(block, begin, end, first_line=start - begin))
            start += end - begin
            lines -= end - begin
            self.buffered -= end - begin
            self.position = Position(block.lines.end_of(end), start, int(block.keys[end - 1]))
            self._used = end
            if end == len(block.keys):
                del self._blocks[0]
                self._used = 0
        return _joined(parts)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def _decoded(self, chunk: Lines) -> _Block:
        n = len(chunk.values)
        numbers = range(self._next_line, self._next_line + n)
        if self.exported:
            block = self._from_export(chunk, numbers)
        else:
            rows, good, rejects = self._decode(chunk.values, numbers)
            at = np.array(good, np.int64) if rejects else np.arange(n)
            taken = set(good) if rejects else set()
            block = _Block(
                lines=chunk,
                keys=np.empty(0, np.int64),
                at=at,
                rows=rows,
                raw=chunk.values if not rejects else [chunk.values[i] for i in good],
                offset=at + self._next_line,
                partition=np.full(len(good), -1, np.int64),
                rejects=rejects,
                reject_at=[i for i in range(n) if i not in taken] if rejects else [],
                reject_partition=[0] * len(rejects),
            )
        times = np.zeros(n + 1, np.int64)
        times[0] = self._high_ms
        if self._columns is None:
            times[block.at + 1] = np.fromiter(
                map(_TIMESTAMP, block.rows), np.int64, len(block.rows)
            )
        else:
            # Now, while the rows of this read are in the processor's cache: each later pass over
            # them would cost 0.2 us a row.
            block.rows = self._columns(block.rows, block.offset)
            times[block.at + 1] = block.rows.timestamp_ms
        block.keys = np.maximum.accumulate(times)[1:]
        self._high_ms = int(block.keys[-1])
        self._next_line += n
        return block

    def _from_export(self, chunk: Lines, numbers: range) -> _Block:
        values: list[bytes] = []
        offsets, partitions, lines = [], [], []
        refused: dict[int, tuple[Reject, int]] = {}
        for i, line in enumerate(chunk.values):
            try:
                exported = _EXPORTED.decode(line)
                value = _value_of(exported)
            except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
                why = f"{self.path.name}@{numbers[i]}: no line of an exported log ({error})"
                refused[i] = (Reject(offset=numbers[i], reason="not_json", error=why, raw=line), 0)
                continue
            if exported.refused is not None:
                said = exported.refused
                refused[i] = (
                    Reject(offset=exported.offset, reason=said.reason, error=said.error, raw=value),
                    exported.partition or 0,
                )
                continue
            values.append(value)
            offsets.append(exported.offset)
            partitions.append(-1 if exported.partition is None else exported.partition)
            lines.append(i)
        rows, good, rejects = self._decode(values, offsets)
        taken = set(good)
        bad = [i for i in range(len(values)) if i not in taken]
        for i, reject in zip(bad, rejects, strict=True):
            refused[lines[i]] = (reject, max(partitions[i], 0))
        order = sorted(refused)
        return _Block(
            lines=chunk,
            keys=np.empty(0, np.int64),
            at=np.array([lines[i] for i in good], np.int64),
            rows=rows,
            raw=[values[i] for i in good],
            offset=np.array([offsets[i] for i in good], np.int64),
            partition=np.array([partitions[i] for i in good], np.int64),
            rejects=[refused[i][0] for i in order],
            reject_at=order,
            reject_partition=[refused[i][1] for i in order],
        )


_EXPORTED = msgspec.json.Decoder(ExportedLine)
_TIMESTAMP = attrgetter("timestamp_ms")


def is_exported(path: Path) -> bool:
    """True if the first line of a file is a line of an exported log."""
    with LineFile(path) as lines:
        first = lines.read()
    if first is None:
        return False
    try:
        _EXPORTED.decode(first.values[0])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def exported_value(line: bytes) -> bytes:
    """Return the value in a line of an exported log, as it was on the topic.

    Raises
    ------
    msgspec.DecodeError
        If it is no such line.
    """
    return _value_of(_EXPORTED.decode(line))


def _value_of(exported: ExportedLine) -> bytes:
    """Return the bytes of an exported value; empty where the record had none."""
    if exported.value_base64 is not None:
        return base64.b64decode(exported.value_base64, validate=True)
    return bytes(exported.value)


def _cut(block: _Block, begin: int, end: int, *, first_line: int) -> Portion:
    """Lines `begin` to `end` of a block whose first line has the number `first_line`."""
    low, high = np.searchsorted(block.at, [begin, end])
    bad = [i for i, at in enumerate(block.reject_at) if begin <= at < end]
    at = block.at[low:high]
    return Portion(
        rows=block.rows[low:high]
        if isinstance(block.rows, list)
        else block.rows.take(slice(low, high)),
        line=at + first_line,
        offset=block.offset[low:high],
        partition=block.partition[low:high],
        key=block.keys[at],
        raw=[(block.raw, int(low), int(high))],
        rejects=[block.rejects[i] for i in bad],
        reject_partition=[block.reject_partition[i] for i in bad],
        reject_line=[block.reject_at[i] + first_line for i in bad],
    )


def _joined(parts: list[Portion]) -> Portion:
    """One portion of several that follow each other."""
    if len(parts) == 1:
        return parts[0]
    empty = np.empty(0, np.int64)
    lists = [part.rows for part in parts]
    return Portion(
        rows=list(chain.from_iterable(lists))
        if all(isinstance(rows, list) for rows in lists)
        else joined(lists),
        line=np.concatenate([empty, *(part.line for part in parts)]),
        offset=np.concatenate([empty, *(part.offset for part in parts)]),
        partition=np.concatenate([empty, *(part.partition for part in parts)]),
        key=np.concatenate([empty, *(part.key for part in parts)]),
        raw=list(chain.from_iterable(part.raw for part in parts)),
        rejects=[reject for part in parts for reject in part.rejects],
        reject_partition=[partition for part in parts for partition in part.reject_partition],
        reject_line=[line for part in parts for line in part.reject_line],
    )


def check_partitions(portion: Portion, partitions: int, path: Path) -> None:
    """Refuse rows of partitions that the run does not have.

    Raises
    ------
    LogError
        If the export has a partition beyond `partitions`.
    """
    highest = int(portion.partition.max(initial=-1))
    if highest >= partitions:
        raise LogError(
            f"{path}: was exported from partition {highest}, but this run has {partitions} partitions; pass --partitions {highest + 1}"
        )
