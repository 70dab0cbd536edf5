"""Increments that one commit of stage 1 sends to stage 2, and their format on `window-partials`.

A `Partial` holds what the commit adds to the models of one target partition, as flat integer
columns; very many feature summaries go into several of them. The sum of the partials of all
partitions of stage 1 is the exact count. `Watermarks` says how far a partition has come,
`LostSpan` which rows it could not read; both go to every task of stage 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.rows import LossRow
from driftline.streams.summaries.feature_table import EMPTY, FeatureTable

FORMAT: Final = 6
"""Version of the format: raise it with every change. A record is read whole or not at all."""

Columns = dict[str, NDArray[np.generic]]

COUNT_COLUMNS = (
    ("lane", np.uint8),
    ("pane", np.int64),
    ("series", np.uint32),
    ("rung", np.uint8),
    ("measure", np.uint8),
    ("a", np.uint16),
    ("b", np.uint32),
    ("count", np.int64),
)
RECENT_COLUMNS = (
    ("series", np.uint32),
    ("time", np.int64),
    ("hash", np.uint64),
    ("actual", np.uint16),
    ("predicted", np.uint16),
    ("sign", np.int8),
)


class Partial(msgspec.Struct, gc=False):
    """Increments of some models.

    Attributes
    ----------
    partition
        Partition of stage 1 that counted them.
    series
        (model_name, model_version, segment) by series number, the series of a model next to each
        other. The name is "" for counts that belong to no model; segment is "all" or
        "dimension=value".
    labels
        Canonical label text by label code.
    counts
        Columns of COUNT_COLUMNS, all of shape (N,): `lane`, start of the `pane` in ms, index of the
        `series`, `rung` of the ladder (0 outside the decisions lane), `measure` with its indexes
        `a` and `b`, and the increment.
    features, feature_panes
        Traffic lane: R feature summaries, by the number of the series, and the start of the pane of
        each in ms, shape (R,), int64.
    recent
        Columns of RECENT_COLUMNS: outcomes of the arrivals lane of models with last-n windows, with
        the time from which the truth was known and the 64-bit hash of the id. `sign` -1 takes back
        an outcome whose time changed.
    """

    partition: int
    series: list[tuple[str, str, str]]
    labels: list[str]
    counts: Columns
    features: FeatureTable
    feature_panes: NDArray[np.int64]
    recent: Columns

    def key(self) -> str:
        """Record key: the name of one of the models, which all have the same partition."""
        return self.series[0][0]


class Watermarks(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="watermarks"):
    """Watermarks of one partition of the input topics, in ms, sent when one of them enters a new
    pane.

    `ended_ms` is the end of a recorded log, once it was reached: no data is expected after it.
    `predictions_ended_ms` is the watermark of the predictions when the log had no further one.
    `final_ms` is the later watermark if no further row comes: rows that wait for witnesses are
    counted already.
    """

    partition: int
    partitions: int
    prediction_ms: int
    truth_ms: int
    ended_ms: int | None = None
    predictions_ended_ms: int | None = None
    final_ms: int = 0

    def key(self) -> str:
        """Record key: none, since watermarks go to all partitions."""
        return ""


class LostSpan(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="lost"):
    """Rows of one partition of an input topic that were lost before they were read, sent before the
    first rows behind them count. Of `window-partials`, a task of stage 2 notes it by itself.

    Attributes
    ----------
    topic, partition
        The input.
    resumed_at
        Offset from which reading went on; spans with the same one belong to the same loss.
    from_ms, until_ms
        Event time in which the rows lie, both included, unless they were late.
    records
        Number of lost records; None if it is not known.
    """

    topic: str
    partition: int
    resumed_at: int
    from_ms: int
    until_ms: int
    records: int | None

    @classmethod
    def of(cls, partition: int, loss: LossRow) -> Self:
        """The span of a loss of a partition."""
        return cls(
            loss.topic, partition, loss.resumed_at, loss.from_ms, loss.until_ms, loss.records
        )

    def key(self) -> str:
        """Record key: none, since losses go to all partitions."""
        return ""


PartialValue = Partial | Watermarks | LostSpan
"""What a record of `window-partials` holds."""


class ForeignFormat(ValueError):
    """A record was written by a release with another format."""


def encode(value: PartialValue) -> bytes:
    """Encode as MessagePack: the format version, then the fields in order; a column is one block of
    little-endian numbers.

    Raises
    ------
    ValueError
        If a column has another type or length than its table.
    """
    if not isinstance(value, Partial):
        return _encoder.encode(_Message(FORMAT, value))
    wire = _WirePartial(
        partition=value.partition,
        series=value.series,
        labels=value.labels,
        counts=_blocks("counts", value.counts, COUNT_COLUMNS),
        features=value.features.encode() if len(value.features) else b"",
        feature_panes=value.feature_panes.astype("<i8", copy=False).tobytes(),
        recent=_blocks("recent", value.recent, RECENT_COLUMNS),
    )
    return _encoder.encode(_Message(FORMAT, wire))


def decode(data: bytes) -> PartialValue:
    """Decode a record; its columns are read-only.

    Raises
    ------
    ForeignFormat
        If the record has another format version.
    ValueError
        If it is damaged.
    """
    try:
        message = _decoder.decode(data)
        if message.format != FORMAT:
            raise _foreign(message.format)
        if not isinstance(message.value, _WirePartial):
            return message.value
    except msgspec.MsgspecError as error:
        raise _decode_error(data, error) from error
    wire, series = message.value, len(message.value.series)
    features = FeatureTable.decode(wire.features) if wire.features else EMPTY
    if len(wire.feature_panes) != 8 * len(features) or (
        len(features) and int(features.series.max()) >= series
    ):
        raise ValueError(
            f"window-partials: record is damaged: its {len(features)} feature summaries do not fit"
            " its panes or series"
        )
    return Partial(
        partition=wire.partition,
        series=wire.series,
        labels=wire.labels,
        counts=_columns("counts", wire.counts, COUNT_COLUMNS, series),
        features=features,
        feature_panes=np.frombuffer(wire.feature_panes, "<i8"),
        recent=_columns("recent", wire.recent, RECENT_COLUMNS, series),
    )


def _blocks(
    table: str, columns: Columns, wanted: Sequence[tuple[str, type[np.generic]]]
) -> list[bytes]:
    """Columns of a table as little-endian blocks."""
    blocks, rows = [], len(columns[wanted[0][0]])
    for name, dtype in wanted:
        column, wire = columns[name], _WIRE_TYPES[dtype]
        if (column.dtype is not wire and column.dtype != dtype) or column.shape != (rows,):
            raise ValueError(
                f"window-partials: column {table}.{name} must be {np.dtype(dtype)} of shape"
                f" ({rows},), got {column.dtype} of shape {column.shape}"
            )
        blocks.append(
            (column if column.dtype is wire else column.astype(wire, copy=False)).tobytes()
        )
    return blocks


def _columns(
    table: str, blocks: Sequence[bytes], wanted: Sequence[tuple[str, type[np.generic]]], series: int
) -> Columns:
    """Columns of a table from its blocks; rows must name one of `series` series."""
    if len(blocks) != len(wanted):
        raise ValueError(
            f"window-partials: record is damaged: {table} has {len(blocks)} columns, needed"
            f" {len(wanted)}"
        )
    if not any(blocks):
        return dict(_EMPTY[table])
    columns: Columns = {}
    rows = -1
    for (name, dtype), block in zip(wanted, blocks, strict=True):
        length, rest = divmod(len(block), _WIRE_TYPES[dtype].itemsize)
        if rest or rows not in (-1, length):
            raise ValueError(
                f"window-partials: record is damaged: column {table}.{name} has {len(block)} bytes"
                f" for {rows} rows"
            )
        columns[name], rows = np.frombuffer(block, _WIRE_TYPES[dtype]), length
    if rows and int(columns["series"].max()) >= series:
        raise ValueError(
            f"window-partials: record is damaged: {table} names series {columns['series'].max()}"
            f" of {series}"
        )
    return columns


def _decode_error(data: bytes, error: Exception) -> ValueError:
    """The error of a record that cannot be decoded: another format, or damage."""
    try:
        head = _head_decoder.decode(data)
    except msgspec.MsgspecError:
        head = _FormatHead(FORMAT)
    if head.format != FORMAT:
        return _foreign(head.format)
    return ValueError(f"window-partials: record of {len(data)} bytes is damaged: {error}")


def _foreign(format_: int) -> ForeignFormat:
    return ForeignFormat(
        f"window-partials: record of format {format_}, this release reads format {FORMAT}; run the"
        " same release in all tasks and replay the log"
    )


class _WirePartial(msgspec.Struct, array_like=True, tag="partial", gc=False):
    partition: int
    series: list[tuple[str, str, str]]
    labels: list[str]
    counts: list[bytes]
    features: bytes
    feature_panes: bytes
    recent: list[bytes]


class _Message(msgspec.Struct, array_like=True, gc=False):
    format: int
    value: _WirePartial | Watermarks | LostSpan


class _FormatHead(msgspec.Struct, array_like=True):
    format: int


# Canonical dtype objects, so that the usual column is recognised by identity.
_WIRE_TYPES: Final[dict[type[np.generic], np.dtype[np.generic]]] = {
    dtype: np.dtype(np.dtype(dtype).newbyteorder("<").str)
    for _, dtype in (*COUNT_COLUMNS, *RECENT_COLUMNS)
}
_EMPTY: Final[dict[str, Columns]] = {
    table: {name: np.frombuffer(b"", _WIRE_TYPES[dtype]) for name, dtype in wanted}
    for table, wanted in (("counts", COUNT_COLUMNS), ("recent", RECENT_COLUMNS))
}
NO_COUNTS: Final = _EMPTY["counts"]
NO_OUTCOMES: Final = _EMPTY["recent"]
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Message)
_head_decoder: Final = msgspec.msgpack.Decoder(_FormatHead)
