"""Drift results of an index, by target over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from driftline.agents.read_model.figure_reads import Span
from driftline.agents.read_model.packed import Samples, unpack
from driftline.agents.read_model.selection import condition
from driftline.schemas.results import Drift, decoder

_decode = decoder(Drift).decode


class DriftFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which drift results; None selects all values of a field."""

    model_name: str | None = None
    model_version: str | None = None
    segment: str | None = None
    target: str | None = None
    method: str | None = None
    window: str | None = None


class DriftReads:
    """Reads drift results; `samples` are those of the index."""

    def __init__(self, connection: sqlite3.Connection, samples: Samples) -> None:
        self._connection = connection
        self._samples = samples

    def between(self, wanted: DriftFilter, span: Span) -> Iterator[Drift]:
        """The results of the windows of a span, by target, method and window, in the order of
        time; `known_at_ms` is compared with the end of the window.
        """
        for target_id in self._targets(wanted):
            for row in self._connection.execute(
                "SELECT sample_id, record FROM drift WHERE target_id = ? AND end_ms > ?"
                " AND end_ms <= ? ORDER BY start_ms",
                (target_id, span.since_ms, min(span.until_ms, span.known_at_ms)),
            ):
                yield self._decoded(*row)

    def newest(self, wanted: DriftFilter) -> Iterator[Drift]:
        """The newest result of each target, method and window."""
        for target_id in self._targets(wanted):
            row = self._connection.execute(
                "SELECT sample_id, record FROM drift WHERE target_id = ?"
                " ORDER BY start_ms DESC LIMIT 1",
                (target_id,),
            ).fetchone()
            if row is not None:
                yield self._decoded(*row)

    def _targets(self, wanted: DriftFilter) -> list[int]:
        where, fields = condition(wanted)
        rows = self._connection.execute(
            f"SELECT target_id FROM targets WHERE {where}"
            " ORDER BY model_name, model_version, segment, target, method, window",
            fields,
        )
        return [target_id for (target_id,) in rows]

    def _decoded(self, sample_id: int, record: bytes) -> Drift:
        return _decode(unpack(record, self._samples.content(self._connection, sample_id)))
