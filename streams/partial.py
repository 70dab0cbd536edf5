"""The increments that one commit of stage 1 sends to stage 2, and what they look like on
`window-partials`.

A `Partial` holds what the commit changed in the models of one partition of the topic, as flat
integer columns; adding the partials of all partitions of stage 1 up gives the exact counts.
`Watermarks` says how far a partition has come; it goes to every task of stage 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.summaries.feature_table import EMPTY, FeatureTable

FORMAT: Final = 3

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
        (model_name, model_version, segment) by series number, those of a model side by side; the
        name is "" for counts that belong to no model, segment is "all" or "dimension=value".
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
        Columns of RECENT_COLUMNS: outcomes of the arrivals lane, of models with last-n windows, by
        the time at which the truth was known and the 64-bit hash of the id. `sign` -1 takes an
        outcome back whose time changed.
    """

    partition: int
    series: list[tuple[str, str, str]]
    labels: list[str]
    counts: Columns
    features: FeatureTable
    feature_panes: NDArray[np.int64]
    recent: Columns

    def key(self) -> str:
        """The name of one of the models, which have the same partition."""
        return self.series[0][0]


class Watermarks(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="watermarks"):
    """Largest event time, in ms, of one partition of each input topic; sent when one enters a new
    pane.

    `ended_ms` is set once a recorded log has come to its end: silence after that time says nothing.
    """

    partition: int
    partitions: int
    prediction_ms: int
    truth_ms: int
    ended_ms: int | None = None

    def key(self) -> str:
        """No name: they go to all partitions."""
        return ""


class ForeignFormat(ValueError):
    """Another release wrote a record."""


def encode(value: Partial | Watermarks) -> bytes:
    """MessagePack: the format version, then the fields in their order; a column is one block of
    little-endian numbers.

    Raises
    ------
    ValueError
        If the type or the length of a column is not that of its table.
    """
    if isinstance(value, Watermarks):
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


def decode(data: bytes) -> Partial | Watermarks:
    """The inverse of `encode`; the columns cannot be written to.

    Raises
    ------
    ForeignFormat
        If another format version wrote it.
    ValueError
        If it is damaged.
    """
    try:
        message = _decoder.decode(data)
        if message.format != FORMAT:
            raise _foreign(message.format)
        if isinstance(message.value, Watermarks):
            return message.value
    except msgspec.MsgspecError as error:
        raise _refused(data, error) from error
    wire, series = message.value, len(message.value.series)
    features = FeatureTable.decode(wire.features) if wire.features else EMPTY
    if len(wire.feature_panes) != 8 * len(features) or (
        len(features) and int(features.series.max()) >= series
    ):
        raise ValueError(
            f"window-partials: record is damaged: its {len(features)} feature summaries do not fit its panes or series"
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
    """The columns of a table one by one, little-endian."""
    blocks, rows = [], len(columns[wanted[0][0]])
    for name, dtype in wanted:
        column, wire = columns[name], _WIRE_TYPES[dtype]
        if (column.dtype is not wire and column.dtype != dtype) or column.shape != (rows,):
            came = f"{column.dtype} of shape {column.shape}"
            raise ValueError(
                f"window-partials: column {table}.{name} must be {np.dtype(dtype)} of shape ({rows},), got {came}"
            )
        blocks.append(
            (column if column.dtype is wire else column.astype(wire, copy=False)).tobytes()
        )
    return blocks


def _columns(
    table: str, blocks: Sequence[bytes], wanted: Sequence[tuple[str, type[np.generic]]], series: int
) -> Columns:
    """The inverse of `_blocks`; `series` is the number of series that rows may name."""
    if len(blocks) != len(wanted):
        raise ValueError(
            f"window-partials: record is damaged: {table} has {len(blocks)} columns, needed {len(wanted)}"
        )
    if not any(blocks):
        return dict(_EMPTY[table])
    columns: Columns = {}
    rows = -1
    for (name, dtype), block in zip(wanted, blocks, strict=True):
        found, rest = divmod(len(block), _WIRE_TYPES[dtype].itemsize)
        if rest or rows not in (-1, found):
            raise ValueError(
                f"window-partials: record is damaged: column {table}.{name} has {len(block)} bytes beside {rows} rows"
            )
        columns[name], rows = np.frombuffer(block, _WIRE_TYPES[dtype]), found
    if rows and int(columns["series"].max()) >= series:
        raise ValueError(
            f"window-partials: record is damaged: {table} names series {columns['series'].max()} of {series}"
        )
    return columns


def _refused(data: bytes, error: Exception) -> ValueError:
    """Why a record cannot be read: another release wrote it, or it is damaged."""
    try:
        head = _head_decoder.decode(data)
    except msgspec.MsgspecError:
        head = _Head(FORMAT)
    if head.format != FORMAT:
        return _foreign(head.format)
    return ValueError(f"window-partials: record of {len(data)} bytes is damaged: {error}")


def _foreign(found: int) -> ForeignFormat:
    remedy = "run the same release in all tasks and replay the log"
    return ForeignFormat(
        f"window-partials: record of format {found}, this release reads format {FORMAT}; {remedy}"
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
    value: _WirePartial | Watermarks


class _Head(msgspec.Struct, array_like=True):
    format: int


# By their names, so that a column of such a type has this very object.
_WIRE_TYPES: Final[dict[type[np.generic], np.dtype[np.generic]]] = {
    dtype: np.dtype(np.dtype(dtype).newbyteorder("<").str)
    for _, dtype in (*COUNT_COLUMNS, *RECENT_COLUMNS)
}
_EMPTY: Final[dict[str, Columns]] = {
    table: {name: np.frombuffer(b"", _WIRE_TYPES[dtype]) for name, dtype in wanted}
    for table, wanted in (("counts", COUNT_COLUMNS), ("recent", RECENT_COLUMNS))
}
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Message)
_head_decoder: Final = msgspec.msgpack.Decoder(_Head)
