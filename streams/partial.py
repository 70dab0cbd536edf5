"""The increments that one commit of stage 1 sends to stage 2.

One `Partial` per model holds what the commit changed, as flat integer columns; adding the partials of all partitions
up gives the exact counts. `Watermarks` says how far a partition has come; it goes to every task of stage 2.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.features import FeatureSummary

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


class FeaturePartial(msgspec.Struct, gc=False):
    """What one pane of one series gained in one feature."""

    series: int
    pane: int
    feature: str
    summary: FeatureSummary


class Partial(msgspec.Struct, gc=False):
    """Increments of one model.

    Attributes
    ----------
    partition
        Partition of stage 1 that counted them.
    model_name
        "" for counts that belong to no model.
    series
        (model_version, segment) by series number; segment is "all" or "dimension=value".
    labels
        Canonical label text by label code.
    counts
        Columns of COUNT_COLUMNS, all of shape (N,): `lane`, start of the `pane` in ms, index of the `series`, `rung` of the
        ladder (0 outside the decisions lane), `measure` with its indexes `a` and `b`, and the increment.
    features
        Traffic lane: feature summaries by pane and series.
    recent
        Columns of RECENT_COLUMNS: outcomes of the arrivals lane by the time at which the truth was known and the 64-bit hash of
        the id. `sign` -1 takes an outcome back whose time changed.
    """

    partition: int
    model_name: str
    series: list[tuple[str, str]]
    labels: list[str]
    counts: dict[str, NDArray[np.generic]]
    features: list[FeaturePartial]
    recent: dict[str, NDArray[np.generic]]


class Watermarks(msgspec.Struct, frozen=True, gc=False):
    """Largest event time, in ms, of one partition of each input topic; sent when one enters a new pane.

    `ended_ms` is set once a recorded log has come to its end: silence after that time says nothing.
    """

    partition: int
    partitions: int
    prediction_ms: int
    truth_ms: int
    ended_ms: int | None = None
