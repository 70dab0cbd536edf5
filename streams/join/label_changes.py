"""Changes of the label in force, as rows for one id at a time and as columns for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class ChangeRow(NamedTuple):
    """One change of the label in force of one prediction, with what the counts need of the
    prediction; fields as in `LabelChanges`.
    """

    name: int
    segments: tuple[int, ...]
    timestamp_ms: int
    predicted: int
    score: int
    hashed: int
    known_ms: int
    delay_ms: int
    old: int
    new: int
    first: bool


class LabelChanges(msgspec.Struct, kw_only=True, gc=False):
    """Changes of the label in force; columns have shape (N,), `segments` (N, D).

    Attributes
    ----------
    name, segments, timestamp_ms, predicted, score
        Model version, segment codes, event time, predicted label and score of the prediction.
    hashes
        Hash of the prediction id.
    known_ms, delay_ms
        Time from which the new label counts as known, and how long after the prediction that is.
    old, new
        Label codes, NO_LABEL for none.
    first
        Whether the prediction had no label before.
    sign
        1, or -1 to take back a change that was counted before.
    """

    name: Ints
    segments: Ints
    timestamp_ms: Ints
    predicted: Ints
    score: Ints
    hashes: NDArray[np.uint64]
    known_ms: Ints
    delay_ms: Ints
    old: Ints
    new: Ints
    first: NDArray[np.bool_]
    sign: Ints

    @classmethod
    def of(cls, signed: Sequence[tuple[ChangeRow, int]], dimensions: int) -> Self:
        """Columns of rows and their signs."""
        rows = [row for row, _ in signed]
        columns = (
            dict(zip(ChangeRow._fields, zip(*rows, strict=True), strict=True))
            if rows
            else dict.fromkeys(ChangeRow._fields, ())
        )
        ints = {
            field: np.array(column, np.int64)
            for field, column in columns.items()
            if field not in _OTHER_TYPES
        }
        ints["segments"] = ints["segments"].reshape(len(rows), dimensions)
        return cls(
            **ints,
            hashes=np.array(columns["hashed"], np.uint64),
            first=np.array(columns["first"], np.bool_),
            sign=np.array([sign for _, sign in signed], np.int64),
        )


_OTHER_TYPES: Final = ("hashed", "first")
