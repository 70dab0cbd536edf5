"""Drift results of an index, by target over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from driftline.agents.read_model.figure_reads import ALWAYS, Span
from driftline.agents.read_model.packed import Samples, unpack
from driftline.agents.read_model.selection import condition
from driftline.schemas.results import WHOLE_SHARE, Drift, decoder
from driftline.schemas.times import EpochMs

_decode = decoder(Drift).decode


class DriftFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which drift results; None selects all values of a field."""

    model_name: str | None = None
    model_version: str | None = None
    segment: str | None = None
    target: str | None = None
    method: str | None = None
    window: str | None = None


class DriftPoint(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"window_start_ms": "window_start", "window_end_ms": "window_end"},
):
    """The fields of a result that a line over time has, as in `Drift`."""

    target: str
    method: str
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    level: str
    effect: float | None
    p_value: float | None
    n_current: int
    p_adjusted: float | None = None


_decode_point = decoder(DriftPoint).decode


class DriftReads:
    """Reads drift results; `samples` are those of the index."""

    def __init__(self, connection: sqlite3.Connection, samples: Samples) -> None:
        self._connection = connection
        self._samples = samples

    def between(self, wanted: DriftFilter, span: Span) -> Iterator[Drift]:
        """The results of the windows of a span, by target, method and window, in the order of
        time; `known_at_ms` is compared with the end of the window.
        """
        for row in self._between(wanted, span):
            yield _decode(self._unpacked(*row))

    def points(self, wanted: DriftFilter, span: Span) -> Iterator[DriftPoint]:
        """As `between`, without evidence: in half of the time."""
        for row in self._between(wanted, span):
            yield _decode_point(self._unpacked(*row))

    def at(self, wanted: DriftFilter, start_ms: int) -> Iterator[Drift]:
        """The results of the windows that start then."""
        for target_id in self._targets(wanted):
            for row in self._connection.execute(
                "SELECT sample_id, record FROM drift WHERE target_id = ? AND start_ms = ?",
                (target_id, start_ms),
            ):
                yield _decode(self._unpacked(*row))

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
            results = (_decode(self._unpacked(*row)) for row in rows)
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

    def _between(self, wanted: DriftFilter, span: Span) -> Iterator[tuple[int, bytes]]:
        for target_id in self._targets(wanted):
            yield from self._connection.execute(
                "SELECT sample_id, record FROM drift WHERE target_id = ? AND end_ms > ?"
                " AND end_ms <= ? ORDER BY start_ms",
                (target_id, span.since_ms, min(span.until_ms, span.known_at_ms)),
            )

    def _unpacked(self, sample_id: int, record: bytes) -> bytes:
        return unpack(record, self._samples.content(self._connection, sample_id))
