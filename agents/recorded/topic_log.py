"""One topic of a recorded log: decoded lines with their order keys, a portion at a time.

A recorded log is a folder with one `<topic>.jsonl` per topic, one value per line. A plain file is
one sequence: the line number, from 0, is the offset, and the partition of a row follows from its
key. An exported file keeps partition and offset with each value; each of its lines is an
`ExportedLine`, in the order in which the partitions merge by event time. A sorted file has the
lines of a plain file in another order, each after its number there, which is the offset
(`row_order.py`). Merging topics is `merge.py`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from driftline.agents.recorded.lines import LineFile, Lines, LogError
from driftline.agents.recorded.sort_by_time import NUMBER_BYTES
from driftline.schemas.rejects import Reason, Reject, RowNote
from driftline.streams.columns import concatenate_columns
from driftline.streams.watermark import Passage, Watermark, advance

Indexes = NDArray[np.int64]


class Decode(Protocol):
    """A decoder of `driftline.schemas.decode` with its settings."""

    def __call__(
        self,
        values: Sequence[bytes | None],
        offsets: Sequence[int],
        *,
        notes: list[RowNote] | None,
    ) -> tuple[list[Any], Sequence[int], list[Reject]]:
        """The rows, the index of each among the values, and the rejects."""


AsColumns = Callable[[list[Any], Indexes], Any]

# Rows may be large, so reading ahead is bounded in bytes too.
MAX_AHEAD_BYTES: Final = 32 << 20


class LiveReject(Struct, frozen=True):
    """Why the live run rejected a value."""

    reason: Reason
    error: str = ""


class ExportedLine(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of an exported log: the value as on the topic, with its offset and partition.

    `value` is a value that is one line of JSON, `value_base64` any other; a record without a value
    has neither. `refused` marks a value
    that the live run sent to its dead-letter topic; a replay rejects it for the same reason.
    Without `partition` it is the row of a table: the key decides, and its time is compared with the
    clock, as in a plain file.
    """

    offset: int
    partition: int | None = None
    value: Raw = Raw()
    value_base64: str | None = None
    refused: LiveReject | None = None


class Position(Struct, frozen=True):
    """Position in a topic's file.

    Attributes
    ----------
    byte, line
        Bytes and lines before it.
    key_ms
        Key of the line before it, 0 before any row (`driftline.streams.log_order`).
    watermark
        Watermark of the rows before it.
    """

    byte: int = 0
    line: int = 0
    key_ms: int = 0
    watermark: Watermark = Watermark()


class Portion(Struct, gc=False):
    """Consecutive lines of one topic, M of them, with N valid rows among them.

    Attributes
    ----------
    rows
        The valid rows: columns of predictions or ground truth, else a list of decoded records.
    line, offset, partition
        Shape (N,): line number and offset of each row, and its partition if the file has it, else
        -1.
    key
        Shape (N,): key of each row (`driftline.streams.log_order`).
    raw
        The bytes of the rows, in parts: values of a block, start (included) and end (excluded).
    rejects, reject_partition, reject_line
        The invalid lines, in order, with the recorded partition (0 in a plain file) and the line
        number of each.
    notes
        Those of the decoder on the rows, in order.
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
    notes: list[RowNote]

    def value(self, row: int) -> bytes:
        """The bytes of a row."""
        for values, begin, end in self.raw:
            if row < end - begin:
                return values[begin + row]
            row -= end - begin
        raise IndexError("the portion has fewer rows")


class _Block(Struct, gc=False):
    """Decoded lines of one read.

    Attributes
    ----------
    first_line
        Number of its first line.
    times
        Event time of every line; 0 where it is invalid or misdated.
    keys
        Key of every line; empty until it is known which lines are misdated.
    before, after
        The watermark before and after the block.
    in_order
        Whether no row of the block is ahead of it.
    at, reject_at
        Index in the block of each valid row's line, and of each invalid line.
    rows, raw, offset, partition, rejects, reject_partition, notes
        As in `Portion`.
    """

    lines: Lines
    first_line: int
    times: Indexes
    keys: Indexes
    before: Watermark
    after: Watermark
    at: Indexes
    rows: Any
    raw: list[bytes]
    offset: Indexes
    partition: Indexes
    rejects: list[Reject]
    reject_at: list[int]
    reject_partition: list[int]
    notes: list[RowNote]
    in_order: bool = True


class TopicLog:
    """A topic's file, decoded ahead in bounded memory and read in portions.

    Parameters
    ----------
    path
        The file.
    decode
        Decoders of the topic's values: in a plain file or a table, and in the export of a broker.
    columns
        Makes columns of decoded rows and their offsets; without it rows stay a list.
    position
        Position to start at.
    is_sorted
        Whether `path` was written by `row_order.sort_file`.

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
        is_sorted: bool = False,
    ) -> None:
        self.path = path
        self._columns = columns
        self.position = position or Position()
        self._is_sorted = is_sorted
        first = None if is_sorted else _first_exported(path)
        self.exported = first is not None
        self._decode = decode[0] if first is None or first.partition is None else decode[1]
        self._lines = LineFile(path, byte=self.position.byte)
        self._blocks: list[_Block] = []
        self._used = 0  # lines of the first block that `take` has returned
        self._next_line = self.position.line
        self._watermark = self.position.watermark
        self._key_ms = self.position.key_ms
        self.buffered = 0

    @property
    def exhausted(self) -> bool:
        """Whether all lines of the file are buffered or taken."""
        return self._lines.ended

    def fill(self, lines: int) -> None:
        """Read ahead until `lines` lines or MAX_AHEAD_BYTES are buffered, at least one line, and it
        is known which of them are misdated, or the file ends.
        """
        while self._watermark.ahead or (
            self.buffered < lines
            and (
                not self.buffered
                or sum(block.lines.size_bytes for block in self._blocks) < MAX_AHEAD_BYTES
            )
        ):
            chunk = self._lines.read()
            if chunk is None:
                if not self._watermark.follows:
                    self._leave_out([row.offset for row in self._watermark.ahead])
                break
            self._blocks.append(self._decoded(chunk))
            self.buffered += len(chunk.values)
        for block in self._blocks:
            if not len(block.keys):
                times = np.concatenate([[self._key_ms], block.times])
                block.keys = np.maximum.accumulate(times)[1:]
                self._key_ms = int(block.keys[-1])

    def keys(self, lines: int) -> Indexes:
        """Keys of the next buffered lines, at most `lines` of them."""
        if not self._blocks:
            return np.empty(0, np.int64)
        first = self._blocks[0].keys[self._used :]
        return np.concatenate([first, *(block.keys for block in self._blocks[1:])])[:lines]

    def take(self, lines: int) -> Portion:
        """Take the next `lines` buffered lines and advance the position."""
        parts: list[Portion] = []
        start = self.position.line
        while lines:
            block = self._blocks[0]
            begin, end = self._used, min(self._used + lines, len(block.keys))
            parts.append(_cut(block, begin, end, first_line=start - begin))
            start += end - begin
            lines -= end - begin
            self.buffered -= end - begin
            self.position = Position(
                block.lines.end_of(end),
                start,
                int(block.keys[end - 1]),
                self._watermark_at(block, end),
            )
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
        numbers: Sequence[int] = range(self._next_line, self._next_line + n)
        values = chunk.values
        if self.exported:
            block = self._from_export(chunk, numbers)
        else:
            if self._is_sorted:
                numbers = [int(value[:NUMBER_BYTES]) for value in values]
                values = [value[NUMBER_BYTES:] for value in values]
            notes: list[RowNote] = []
            rows, good, rejects = self._decode(values, numbers, notes=notes)
            at = np.array(good, np.int64) if rejects else np.arange(n)
            valid = set(good) if rejects else set()
            block = _Block(
                lines=chunk,
                first_line=self._next_line,
                times=np.empty(0, np.int64),
                keys=np.empty(0, np.int64),
                before=self._watermark,
                after=self._watermark,
                at=at,
                rows=rows,
                raw=values if not rejects else [values[i] for i in good],
                offset=np.array(numbers, np.int64)[at] if self._is_sorted else at + numbers[0],
                partition=np.full(len(good), -1, np.int64),
                rejects=rejects,
                reject_at=[i for i in range(n) if i not in valid] if rejects else [],
                reject_partition=[0] * len(rejects),
                notes=notes,
            )
        if self._columns is not None:
            # Here, while the rows are in the processor's cache: a later pass costs 0.2 us per row.
            block.rows = self._columns(block.rows, block.offset)
        block.times = np.zeros(n, np.int64)
        if self._columns is None:
            block.times[block.at] = [row.timestamp_ms for row in block.rows]
        else:
            block.times[block.at] = block.rows.timestamp_ms
            passage = self._passage(block, len(block.at))
            self._watermark = block.after = passage.after
            block.in_order = passage.in_order
            self._blocks.append(block)
            self._leave_out([*(wrong.row.offset for wrong in passage.misdated), *passage.copies])
            self._blocks.pop()
        self._next_line += n
        return block

    def _passage(self, block: _Block, rows: int) -> Passage:
        """The watermark over the first rows of a block, with line numbers in place of offsets."""
        return advance(
            block.before,
            block.rows.timestamp_ms[:rows],
            0,
            block.rows.ids,
            block.at[:rows] + block.first_line,
        )

    def _leave_out(self, lines: list[int]) -> None:
        """Give misdated lines no time, so that they do not decide where others are merged."""
        for line in lines:
            for block in self._blocks:
                if 0 <= line - block.first_line < len(block.times):
                    block.times[line - block.first_line] = 0

    def _watermark_at(self, block: _Block, lines: int) -> Watermark:
        """The watermark after the first lines of a block."""
        if lines == len(block.keys) or self._columns is None:
            return block.after
        if block.in_order:
            rows = int(np.searchsorted(block.at, lines))
            times = block.rows.timestamp_ms[:rows]
            return Watermark(max(block.before.ms, int(times.max(initial=0))))
        return self._passage(block, int(np.searchsorted(block.at, lines))).after

    def _from_export(self, chunk: Lines, numbers: Sequence[int]) -> _Block:
        values: list[bytes | None] = []
        offsets, partitions, lines = [], [], []
        rejected: dict[int, tuple[Reject, int]] = {}
        for i, line in enumerate(chunk.values):
            try:
                exported = _EXPORTED.decode(line)
                value = _value_of(exported)
            except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
                why = f"{self.path.name}@{numbers[i]}: no line of an exported log ({error})"
                rejected[i] = (Reject(offset=numbers[i], reason="not_json", error=why, raw=line), 0)
                continue
            if exported.refused is not None:
                cause = exported.refused
                rejected[i] = (
                    Reject(
                        offset=exported.offset,
                        reason=cause.reason,
                        error=cause.error,
                        raw=value or b"",
                    ),
                    exported.partition or 0,
                )
                continue
            values.append(value)
            offsets.append(exported.offset)
            partitions.append(-1 if exported.partition is None else exported.partition)
            lines.append(i)
        notes: list[RowNote] = []
        rows, good, rejects = self._decode(values, offsets, notes=notes)
        valid = set(good)
        bad = [i for i in range(len(values)) if i not in valid]
        for i, reject in zip(bad, rejects, strict=True):
            rejected[lines[i]] = (reject, max(partitions[i], 0))
        order = sorted(rejected)
        return _Block(
            lines=chunk,
            first_line=self._next_line,
            times=np.empty(0, np.int64),
            keys=np.empty(0, np.int64),
            before=self._watermark,
            after=self._watermark,
            at=np.array([lines[i] for i in good], np.int64),
            rows=rows,
            raw=[values[i] or b"" for i in good],
            offset=np.array([offsets[i] for i in good], np.int64),
            partition=np.array([partitions[i] for i in good], np.int64),
            rejects=[rejected[i][0] for i in order],
            reject_at=order,
            reject_partition=[rejected[i][1] for i in order],
            notes=notes,
        )


_EXPORTED = msgspec.json.Decoder(ExportedLine)
_TIMESTAMP = attrgetter("timestamp_ms")


def is_exported(path: Path) -> bool:
    """Whether the first line of a file is a line of an exported log."""
    return _first_exported(path) is not None


def _first_exported(path: Path) -> ExportedLine | None:
    """The first line of an exported log; None for a plain file."""
    with LineFile(path) as lines:
        first = lines.read()
    if first is None:
        return None
    try:
        return _EXPORTED.decode(first.values[0])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def exported_value(line: bytes) -> bytes:
    """The value in a line of an exported log, as on the topic; empty for a record without one.

    Raises
    ------
    msgspec.DecodeError
        If the line is not one of an exported log.
    """
    return _value_of(_EXPORTED.decode(line)) or b""


def _value_of(exported: ExportedLine) -> bytes | None:
    """The bytes of an exported value; None for a record without a value."""
    if exported.value_base64 is not None:
        return base64.b64decode(exported.value_base64, validate=True)
    return bytes(exported.value) or None


def _cut(block: _Block, begin: int, end: int, *, first_line: int) -> Portion:
    """Lines `begin` (included) to `end` (excluded) of a block that starts at line `first_line`."""
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
        notes=[note for note in block.notes if low <= note.row < high],
    )


def _joined(parts: list[Portion]) -> Portion:
    """Consecutive portions joined to one."""
    if len(parts) == 1:
        return parts[0]
    empty = np.empty(0, np.int64)
    lists = [part.rows for part in parts]
    return Portion(
        rows=list(chain.from_iterable(lists))
        if all(isinstance(rows, list) for rows in lists)
        else concatenate_columns(lists),
        line=np.concatenate([empty, *(part.line for part in parts)]),
        offset=np.concatenate([empty, *(part.offset for part in parts)]),
        partition=np.concatenate([empty, *(part.partition for part in parts)]),
        key=np.concatenate([empty, *(part.key for part in parts)]),
        raw=list(chain.from_iterable(part.raw for part in parts)),
        rejects=[reject for part in parts for reject in part.rejects],
        reject_partition=[partition for part in parts for partition in part.reject_partition],
        reject_line=[line for part in parts for line in part.reject_line],
        notes=[note for part in parts for note in part.notes],
    )


def check_partitions(portion: Portion, partitions: int, path: Path) -> None:
    """Check that no row belongs to a partition that the run does not have.

    Raises
    ------
    LogError
        If the export has a partition beyond `partitions`.
    """
    highest = int(portion.partition.max(initial=-1))
    if highest >= partitions:
        raise LogError(
            f"{path}: has rows of partition {highest}, but this run has {partitions} partitions; "
            f"pass --partitions {highest + 1}"
        )
