"""Interface between stages and drivers.

A stage is a pure function of a batch and the state of its partition. A driver reads the batch,
calls `process` on an overlay of the state, and commits outputs, state changes and input positions
as one unit. Formats of topics are in `schemas`; the driver chooses where state is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from driftline.streams.work_slices import WorkSlices

if TYPE_CHECKING:
    from driftline.streams.columns import GroundTruthColumns, PredictionColumns


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record that a stage emits.

    Attributes
    ----------
    topic
        Name of the topic, without the configured prefix.
    value
        A struct of `schemas`, or a `driftline.streams.partial.Partial` on `window-partials`. A
        driver encodes it where it leaves the process; the record key is its `key()`.
    rank
        Stage 1: `rank` of the row that led to the record, so that a driver of many partitions can
        merge their records in an order that does not depend on the batches. It is not written.
    """

    topic: str
    value: Any
    rank: int = 0


class State(Protocol):
    """Keyed state of one stage and partition. Keys and values are bytes."""

    def get(self, key: bytes, /) -> bytes | None: ...
    def get_many(self, keys: Sequence[bytes], /) -> list[bytes | None]: ...
    def put(self, key: bytes, value: bytes, /) -> None: ...
    def put_many(self, keys: Sequence[bytes], values: Sequence[bytes], /) -> None:
        """Set the value of each key. The caller must not change the sequences afterwards."""

    def delete(self, key: bytes, /) -> None: ...
    def pop_many(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        """Delete keys and return their values; a repeated key has None from the second time on.

        The caller must not change `keys` afterwards.
        """

    def delete_range(self, start: bytes, end: bytes, /) -> None:
        """Delete every key k with start <= k < end."""


class Batch(msgspec.Struct, gc=False):
    """Records of one partition in offset order.

    Attributes
    ----------
    partition
        Number of the partition, the same in all input topics of the stage.
    predictions, ground_truth
        Stage 1 only: the decoded rows as columns, or None where there are none.
    ranked
        Stage 1 only: whether `rank` of the columns is set, as a driver does that merges the rows of
        several partitions. Otherwise the rows of this batch are ranked by themselves.
    tick_ms
        Stage 1 only: event time that the partition has reached after this batch even without a row
        of that time.
    ended_ms
        Stage 1 only: largest event time of a recorded log, after its end.
    predictions_ended_ms
        Stage 1 only: event time that ticks had reached when the recorded log had no further
        prediction, though its other topics may go on; 0 where there were none.
    records
        Stages 2 to 4: decoded values by topic, in offset order.
    """

    partition: int = 0
    predictions: PredictionColumns | None = None
    ground_truth: GroundTruthColumns | None = None
    ranked: bool = False
    tick_ms: int | None = None
    ended_ms: int | None = None
    predictions_ended_ms: int | None = None
    records: Mapping[str, Sequence[Any]] = {}


class Stage(Protocol):
    """One stage of the pipeline.

    Attributes
    ----------
    name
        As in the keys of a state store and in topic headers.
    inputs
        Topics without prefix.
    state_format
        Formats of everything that the stage keeps in its state, each named where it is written. A
        state with others cannot be read.
    """

    name: str
    inputs: tuple[str, ...]
    state_format: tuple[int, ...]

    def process(self, batch: Batch, state: State, /) -> list[Record]: ...


class SlicedStage(Stage, Protocol):
    """A stage whose calls may take long: those of the stages after the first one."""

    def work(self, batch: Batch, state: State, /) -> WorkSlices[list[Record]]:
        """As `process`, in slices."""
