"""Drift results of an index, by target over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from driftline.agents.read_model.figure_reads import ALWAYS, Span
from driftline.agents.read_model.packed import Samples, unpack
from driftline.agents.read_model.selection import condition
from driftline.schemas.results import WHOLE_SHARE, Drift, decoder

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

    def newest(self, wanted: DriftFilter, *, known_at_ms: int = ALWAYS) -> Iterator[Drift]:
        """The newest result of each target, method and window, of a window that data cover as a
        whole if there is one; `known_at_ms` is compared with the end of the window.
        """
        for target_id in self._targets(wanted):
            rows = self._connection.execute(
                "SELECT sample_id, record FROM drift WHERE target_id = ? AND end_ms <= ?"
                " ORDER BY start_ms DESC",
                (target_id, known_at_ms),
            )
            results = (self._decoded(*row) for row in rows)
            newest = next(results, None)
            if newest is not None:
                whole = (each for each in results if each.covered_share >= WHOLE_SHARE)
                yield newest if newest.covered_share >= WHOLE_SHARE else next(whole, newest)

    def newest_end(self, wanted: DriftFilter) -> int:
        """End of the newest window, in ms since the epoch; 0 without any."""
        ends = [
            end
            for target_id in self._targets(wanted)
            for (end,) in self._connection.execute(
                "SELECT max(end_ms) FROM drift WHERE target_id = ?", (target_id,)
            )
            if end is not None
        ]
        return max(ends, default=0)

    def targets(self, wanted: DriftFilter) -> list[tuple[str, str, str]]:
        """Target, method and window of what there are results of."""
        where, fields = condition(wanted)
        return self._connection.execute(
            f"SELECT DISTINCT target, method, window FROM targets WHERE {where}"
            " ORDER BY target, method, window",
            fields,
        ).fetchall()

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
