"""Records of the output topics go into the tables of an index.

A record replaces an earlier one of its series and window, unless that is a later revision. What is
no record of its topic, such as one of another release, is counted with an example.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

import msgspec

from driftline.agents.read_model.index import Index, generation
from driftline.agents.read_model.packed import Samples, pack
from driftline.agents.read_model.retention import Limits, trim_drift, trim_records, trim_series
from driftline.schemas.results import NO_MATURITY, Drift, Histogram, WindowFigures, decoder
from driftline.schemas.times import parse_time
from driftline.schemas.topics import DRIFT, HISTOGRAMS, METRICS, OUTCOMES, TOPICS

INDEXED: Final = tuple(
    topic.name
    for topic in TOPICS.values()
    if topic.type is not None and topic.stage != "input" and topic.name != OUTCOMES
)
"""Topics of which an index has the records: all results but the outcomes of single predictions."""
_MOST_CACHED: Final = 50_000
_TRIM_AFTER: Final = 1_000
_EXAMPLE_CHARACTERS: Final = 300


class Changed(NamedTuple):
    """Of what records were added."""

    topic: str
    model_name: str
    model_version: str


class _Other(msgspec.Struct):
    """The fields of other records that are columns; each topic has one of the times, or none."""

    model_name: str = ""
    model_version: str | None = None
    at: str | None = None
    frontier: str | None = None
    created_at: str | None = None


_decode_other = msgspec.json.Decoder(_Other).decode


class Intake:
    """Adds records to an index.

    Parameters
    ----------
    index
        The index.
    limits
        How much of it is kept.
    """

    def __init__(self, index: Index, limits: Limits) -> None:
        self.index = index
        self._limits = limits
        self._samples = Samples()
        self._ids: dict[tuple[str, ...], int] = {}
        self._generation = ""
        self._untrimmed: Counter[tuple[str, ...]] = Counter()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the index, to hand to `add`."""
        try:
            with self.index.writing() as connection:
                yield connection
        except BaseException:
            # Rows that are remembered may be gone with the transaction.
            self._generation = ""
            raise

    def add(
        self, connection: sqlite3.Connection, topic: str, values: Sequence[bytes]
    ) -> set[Changed]:
        """Add records of a topic in their order, and say of what.

        Parameters
        ----------
        topic
            One of `INDEXED`.
        values
            The records as they are on the topic.
        """
        if (now := generation(connection)) != self._generation:
            self._samples.forget()
            self._ids.clear()
            self._generation = now
        if len(self._ids) > _MOST_CACHED:
            self._ids.clear()
        return _ADD.get(topic, Intake._add_other)(self, connection, topic, values)

    def _add_figures(
        self, connection: sqlite3.Connection, topic: str, values: Sequence[bytes]
    ) -> set[Changed]:
        changed, rows = set(), []
        for value, record in _decoded(connection, topic, values):
            owner = Changed(topic, record.model_name, record.model_version)
            series_id = self._series_id(connection, record, record.kind)
            rows.append(
                (
                    series_id,
                    record.window_start_ms,
                    record.window_end_ms,
                    record.complete_at_ms,
                    record.revision,
                    record.provisional,
                    record.final,
                    record.n_predictions,
                    record.n,
                    *self._packed(connection, (*owner, record.lane), value),
                )
            )
            changed.add(owner)
        # In the order of the table a page is written once. Equal windows keep their order.
        rows.sort(key=_PLACE)
        connection.executemany(_PUT_FIGURES, rows)
        self._trim_series(connection, "figures", [row[0] for row in rows])
        return changed

    def _add_histograms(
        self, connection: sqlite3.Connection, topic: str, values: Sequence[bytes]
    ) -> set[Changed]:
        changed, rows = set(), []
        for value, record in _decoded(connection, topic, values):
            owner = Changed(topic, record.model_name, record.model_version)
            rows.append(
                (
                    self._series_id(connection, record, ""),
                    record.window_start_ms,
                    record.window_end_ms,
                    record.final,
                    *self._packed(connection, (*owner, record.lane), value),
                )
            )
            changed.add(owner)
        connection.executemany("REPLACE INTO histograms VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._trim_series(connection, "histograms", [row[0] for row in rows])
        return changed

    def _add_drift(
        self, connection: sqlite3.Connection, topic: str, values: Sequence[bytes]
    ) -> set[Changed]:
        changed, rows = set(), []
        for value, record in _decoded(connection, topic, values):
            owner = Changed(topic, record.model_name, record.model_version)
            rows.append(
                (
                    self._target_id(connection, record),
                    record.window_start_ms,
                    record.window_end_ms,
                    record.level,
                    *self._packed(connection, (*owner, ""), value),
                )
            )
            changed.add(owner)
            self._untrimmed[owner] += 1
        connection.executemany("REPLACE INTO drift VALUES (?, ?, ?, ?, ?, ?)", rows)
        for owner in changed:
            if self._is_due(owner):
                trim_drift(connection, owner.model_name, owner.model_version, self._limits)
        return changed

    def _add_other(
        self, connection: sqlite3.Connection, topic: str, values: Sequence[bytes]
    ) -> set[Changed]:
        changed, rows = set(), []
        for value, record in _decoded(connection, topic, values):
            fields = _decode_other(value)
            at = fields.at or fields.frontier or fields.created_at
            owner = Changed(topic, fields.model_name, fields.model_version or "")
            rows.append((*owner, record.key(), None if at is None else parse_time(at), value))
            changed.add(owner)
            self._untrimmed[topic,] += 1
        connection.executemany(
            "INSERT INTO records (topic, model_name, model_version, key, at_ms, record)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        if self._is_due((topic,)):
            trim_records(connection, topic, self._limits)
        return changed

    def _packed(
        self, connection: sqlite3.Connection, owner: tuple[str, str, str, str], value: bytes
    ) -> tuple[int, bytes]:
        sample = self._samples.for_record(connection, owner, value)
        return sample.sample_id, pack(value, sample.content)

    def _series_id(
        self, connection: sqlite3.Connection, record: WindowFigures | Histogram, kind: str
    ) -> int:
        names = (
            record.model_name,
            record.model_version,
            record.segment,
            record.lane,
            record.window,
            record.maturity or NO_MATURITY,
        )
        # The kind is known from the figures, which may come after the histograms.
        if (found := self._ids.get((*names, kind))) is None:
            (found,) = connection.execute(
                "INSERT INTO series (model_name, model_version, segment, lane, window, maturity,"
                " kind) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " kind = iif(excluded.kind = '', kind, excluded.kind) RETURNING series_id",
                (*names, kind),
            ).fetchone()
            self._ids[(*names, kind)] = found
        return found

    def _target_id(self, connection: sqlite3.Connection, record: Drift) -> int:
        names = (
            record.model_name,
            record.model_version,
            record.segment,
            record.target,
            record.method,
            record.window,
        )
        if (found := self._ids.get(names)) is None:
            (found,) = connection.execute(
                "INSERT INTO targets (model_name, model_version, segment, target, method, window)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET window = window"
                " RETURNING target_id",
                names,
            ).fetchone()
            self._ids[names] = found
        return found

    def _trim_series(
        self,
        connection: sqlite3.Connection,
        table: Literal["figures", "histograms"],
        added: Sequence[int],
    ) -> None:
        for series_id, count in Counter(added).items():
            self._untrimmed[table, str(series_id)] += count
            if self._is_due((table, str(series_id))):
                trim_series(connection, table, series_id, self._limits)

    def _is_due(self, owner: tuple[str, ...]) -> bool:
        """Whether so many records came since the last clean-up that another one is worth it."""
        if self._untrimmed[owner] < _TRIM_AFTER:
            return False
        del self._untrimmed[owner]
        return True


_PUT_FIGURES: Final = """
INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    end_ms = excluded.end_ms, complete_at_ms = excluded.complete_at_ms,
    revision = excluded.revision, provisional = excluded.provisional, final = excluded.final,
    n_predictions = excluded.n_predictions, n = excluded.n, sample_id = excluded.sample_id,
    record = excluded.record
WHERE excluded.revision >= figures.revision
"""
_PLACE: Final = itemgetter(0, 1)
_ADD: Final = {
    METRICS: Intake._add_figures,
    HISTOGRAMS: Intake._add_histograms,
    DRIFT: Intake._add_drift,
}


@cache
def _decoder(topic: str) -> Callable[[bytes], Any]:
    kind = TOPICS[topic].type
    if kind is None:
        raise ValueError(f"an index has no records of {topic}")
    return decoder(kind).decode


def _decoded(
    connection: sqlite3.Connection, topic: str, values: Sequence[bytes]
) -> Iterator[tuple[bytes, Any]]:
    """Each value with its record; those that are none are counted. A record is decoded as a whole,
    so that nothing is in the index that a reader cannot decode.
    """
    decode = _decoder(topic)
    unreadable: list[tuple[bytes, str]] = []
    for value in values:
        try:
            record = decode(value)
        except (msgspec.DecodeError, ValueError) as error:
            unreadable.append((value, str(error)))
        else:
            yield value, record
    if unreadable:
        value, problem = unreadable[0]
        shown = value[:_EXAMPLE_CHARACTERS].decode("utf-8", "backslashreplace")
        connection.execute(
            "INSERT INTO unreadable VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " records = records + excluded.records",
            (topic, len(unreadable), f"{problem}: {shown}"),
        )
