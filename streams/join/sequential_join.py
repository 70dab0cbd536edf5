"""The join of one id at a time, for every row that the batch join leaves out.

Duplicates, conflicts, corrections, retractions, several truths or models for one id, and rows that
come too late for each other. The outcome of an entry follows from `entry.py`; the difference
between before and after a row is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from driftline.schemas.settings import Config
from driftline.schemas.topics import GROUND_TRUTH
from driftline.streams.hashing import id_hashes
from driftline.streams.join.batch_rows import Predictions, Truths
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.entry import (
    Entry,
    Meetings,
    PredictionPart,
    Resolution,
    TruthPart,
    TruthWaits,
    distinct_truths,
    dump,
    layout_for,
    load,
    meetings,
    repeated_truth,
    resolve,
    without,
)
from driftline.streams.join.expiry_index import ExpiryIndex
from driftline.streams.join.label_changes import ChangeRow, LabelChanges
from driftline.streams.join.lane_counts import BatchCounts
from driftline.streams.join.outcomes import OutcomeChange
from driftline.streams.join.uncounted_rows import UncountedRow
from driftline.streams.lanes import NO_LABEL
from driftline.streams.stage import State


class JoinResult(msgspec.Struct, gc=False):
    """What the join finds about the rows of a batch.

    Attributes
    ----------
    accepted
        Indexes of the new predictions, ascending.
    conflicting
        Indexes of predictions that contradict an accepted one.
    duplicates
        Indexes of predictions that repeat an accepted one.
    outcomes
        New labels of predictions, and changes of labels.
    """

    accepted: list[int]
    conflicting: list[int]
    duplicates: list[int]
    outcomes: list[OutcomeChange]


class Arrival(NamedTuple):
    """One row of the batch.

    `row` is its index among the rows of its topic. `arrived_ms` is its event time, but not before
    the watermark less the grace.
    """

    rank: int
    is_truth: bool
    row: int
    arrived_ms: int


class LateTruthRow(NamedTuple):
    """A truth that came too late for one prediction, with what the counts need of both."""

    name: int
    segments: tuple[int, ...]
    known_ms: int


class Counted(NamedTuple):
    """Everything that an entry adds to the counts."""

    changes: list[ChangeRow]
    late: list[LateTruthRow]


_NOTHING = Counted([], [])
_Pair = tuple[PredictionPart, list[TruthPart]]
"""A prediction and the truths that it has met."""
_Row = TypeVar("_Row", ChangeRow, LateTruthRow)


class SequentialJoin:
    """Entries of one partition, one at a time."""

    def __init__(self, book: CodeBook, index: ExpiryIndex, config: Config) -> None:
        self._book = book
        self._index = index
        self._dimensions = len(config.segments)
        self._waits = TruthWaits(config.park_ms, config.truth_repeat_ms)
        self._truth_grace_ms = config.truth_grace_ms
        self._has_outcomes = config.outcomes
        self._layout = layout_for(self._dimensions)

    def apply(
        self,
        keys: dict[bytes, None],
        predictions: Predictions | None,
        truths: Truths | None,
        counts: BatchCounts,
        state: State,
    ) -> JoinResult:
        """Apply all rows of the ids `keys` in the order in which they were read."""
        arrivals_of = _arrivals(keys, predictions, truths)
        result = JoinResult([], [], [], [])
        changes: list[tuple[ChangeRow, int]] = []
        entries: list[bytes] = []
        stored = state.get_many(list(arrivals_of))
        for (key, arrivals), encoded in zip(arrivals_of.items(), stored, strict=True):
            entry = Entry([], []) if encoded is None else load(encoded, self._layout)
            met = self._meetings(entry)
            listed_ms = _first_expiry(met)
            before = self._counted(key, _pairs(entry, met))
            for arrival in arrivals:
                accepted = False
                if arrival.is_truth and truths is not None:
                    self._add_truth(entry, truths, arrival.row, counts, state)
                elif predictions is not None:
                    accepted = self._add_prediction(entry, predictions, arrival.row, counts, result)
                met = self._meetings(entry)
                after = self._counted(key, _pairs(entry, met))
                changed = _difference(before.changes, after.changes)
                for row, sign in _difference(before.late, after.late):
                    self._count("late_truths", row.name, row.segments, row.known_ms, sign, counts)
                    if sign > 0:
                        example = partial(self._late_truth, key, entry, row, sign, arrival, truths)
                        counts.uncounted_rows.add("late_truth", sign, example)
                before = after
                changes += changed
                if self._has_outcomes:
                    if accepted:
                        changed = self._changes_one_by_one(key, entry, met)
                    if accepted or arrival.is_truth:
                        result.outcomes += _outcome_changes(arrival.rank, key, changed)
            entries.append(self._dump(key, entry, met))
            expires_ms = _first_expiry(met)
            if expires_ms is not None and expires_ms != listed_ms:
                self._index.add([key], np.array([expires_ms], np.int64), state)
        state.put_many(list(arrivals_of), entries)
        counts.changes(LabelChanges.of(changes, self._dimensions))
        return result

    def expire(
        self, key: bytes, entry: Entry, reached_ms: int, counts: BatchCounts, state: State
    ) -> None:
        """Count predictions without a truth as expired and truths without a prediction as
        unmatched, as far as they expire before `reached_ms`, and keep the others.

        They count at the time at which they expired; the index holds the watermarks back until
        then.
        """
        groups = self._meetings(entry).groups
        gone = [group for group in groups if group.expires_ms < reached_ms]
        for group in gone:
            if not group.truths:
                p = entry.predictions[group.predictions[0]]
                if p.predicted != NO_LABEL:
                    self._count("expired", p.name, p.segments, group.expires_ms, 1, counts)
                    counts.add_expired(1, key, p.timestamp_ms, group.expires_ms, reached_ms)
            elif not group.predictions:
                t = entry.truths[group.truths[0]]
                no_segments = (0,) * self._dimensions
                name = self._book.no_model(state)
                self._count("unmatched", name, no_segments, group.expires_ms, 1, counts)
                counts.add_unmatched(1, key, t.timestamp_ms, t.known_ms, reached_ms)
        if len(gone) == len(groups):
            return
        left = without(entry, gone)
        met = self._meetings(left)
        state.put(key, self._dump(key, left, met))
        expires_ms = _first_expiry(met)
        if gone and expires_ms is not None:
            self._index.add([key], np.array([expires_ms], np.int64), state)

    def _add_prediction(
        self,
        entry: Entry,
        rows: Predictions,
        i: int,
        counts: BatchCounts,
        result: JoinResult,
    ) -> bool:
        """Add a row to the entry; gives whether it is the first of its model version."""
        part = PredictionPart(
            int(rows.name[i]),
            int(rows.timestamp_ms[i]),
            int(rows.floor_ms[i]),
            int(rows.fingerprint[i]),
            int(rows.predicted[i]),
            int(rows.score[i]),
            tuple(rows.segments[i].tolist()),
        )
        repeat_ms = self._book.horizons[part.name].repeat_ms
        same = [
            p
            for p in entry.predictions
            if p.name == part.name and part.arrived_ms <= p.timestamp_ms + repeat_ms
        ]
        if not same:
            entry.predictions.append(part)
            result.accepted.append(i)
            return True
        is_duplicate = any(p.fingerprint == part.fingerprint for p in same)
        (result.duplicates if is_duplicate else result.conflicting).append(i)
        counter = "duplicate_predictions" if is_duplicate else "conflicting_predictions"
        self._count(counter, part.name, part.segments, part.arrived_ms, 1, counts)
        return False

    def _add_truth(
        self, entry: Entry, rows: Truths, i: int, counts: BatchCounts, state: State
    ) -> None:
        part = TruthPart(
            revision=int(rows.revision[i]),
            label=int(rows.label[i]),
            timestamp_ms=int(rows.timestamp_ms[i]),
            known_ms=int(rows.known_ms[i]),
        )
        place = repeated_truth(entry.truths, part, self._waits)
        if place is None:
            entry.truths.append(part)
            return
        (earliest,) = distinct_truths(entry.truths, [place])
        if part.timestamp_ms < earliest.timestamp_ms or part.known_ms < earliest.known_ms:
            part.repeats = place
            entry.truths.append(part)
        name, no_segments = self._book.no_model(state), (0,) * self._dimensions
        self._count("duplicate_truths", name, no_segments, part.known_ms, 1, counts)
        counts.uncounted_rows.add(
            "duplicate_truth", 1, lambda: self._duplicate_truth(part, rows, i)
        )

    def _duplicate_truth(self, part: TruthPart, rows: Truths, i: int) -> UncountedRow:
        return UncountedRow(
            reason="duplicate_truth",
            count=1,
            topic=GROUND_TRUTH,
            prediction_id=rows.keys[i].decode(),
            offset=int(rows.offset[i]),
            event_ms=part.timestamp_ms,
            known_ms=part.known_ms,
            watermark_ms=int(rows.floor_ms[i]) + self._truth_grace_ms,
            limit_ms=None,
        )

    def _changes_one_by_one(
        self, key: bytes, entry: Entry, met: Meetings
    ) -> list[tuple[ChangeRow, int]]:
        """Changes that the truths of an entry make for its newest prediction, row after row.

        So outcomes are the same whether the prediction was read before its truths or after them.
        """
        changes: list[tuple[ChangeRow, int]] = []
        prediction, before = entry.predictions[-1], _NOTHING
        for count in range(1, len(entry.truths) + 1):
            truths = distinct_truths(entry.truths[:count], met.truths_of[-1])
            after = self._counted(key, [(prediction, truths)])
            changes += _difference(before.changes, after.changes)
            before = after
        return changes

    def _meetings(self, entry: Entry) -> Meetings:
        return meetings(entry, self._book.horizons, self._waits)

    def _counted(self, key: bytes, pairs: Sequence[_Pair]) -> Counted:
        if not any(truths for _, truths in pairs):
            return _NOTHING
        hashed = int(id_hashes([key])[0])
        changes: list[ChangeRow] = []
        late: list[LateTruthRow] = []
        for p, truths in pairs:
            if p.predicted == NO_LABEL:
                continue
            resolution = self._resolved(p, truths)
            changes += [
                ChangeRow(
                    name=p.name,
                    segments=p.segments,
                    timestamp_ms=p.timestamp_ms,
                    predicted=p.predicted,
                    score=p.score,
                    hashed=hashed,
                    known_ms=change.known_ms,
                    delay_ms=change.delay_ms,
                    old=change.old,
                    new=change.new,
                    first=change.first,
                )
                for change in resolution.changes
            ]
            late += [LateTruthRow(p.name, p.segments, t.known_ms) for t in resolution.late]
        return Counted(changes, late)

    def _late_truth(
        self,
        key: bytes,
        entry: Entry,
        row: LateTruthRow,
        count: int,
        arrival: Arrival,
        truths: Truths | None,
    ) -> UncountedRow:
        """The example of a truth that became late with `arrival`, which may be another row."""
        late = next(
            late
            for p, of in _pairs(entry, self._meetings(entry))
            if p.name == row.name
            for late in self._resolved(p, of).late
            if late.known_ms == row.known_ms
        )
        offset, watermark_ms = None, arrival.arrived_ms
        if arrival.is_truth and truths is not None:
            i = arrival.row
            watermark_ms = int(truths.floor_ms[i]) + self._truth_grace_ms
            if (truths.revision[i], truths.label[i]) == (late.truth.revision, late.truth.label):
                offset = int(truths.offset[i])
        return UncountedRow(
            reason="late_truth",
            count=count,
            topic=GROUND_TRUTH,
            prediction_id=key.decode(),
            offset=offset,
            event_ms=late.truth.timestamp_ms,
            known_ms=late.known_ms,
            watermark_ms=watermark_ms,
            limit_ms=late.limit_ms,
        )

    def _count(
        self,
        counter: str,
        name: int,
        segments: Sequence[int],
        time_ms: int,
        sign: int,
        counts: BatchCounts,
    ) -> None:
        one_row = np.array(segments, np.int64).reshape(1, self._dimensions)
        counts.counter(counter, np.array([name]), one_row, np.array([time_ms]), np.array([sign]))

    def _dump(self, key: bytes, entry: Entry, met: Meetings) -> bytes:
        """The encoded entry: ordinary if the truth of its one prediction is a label in force."""
        is_ordinary = True
        if len(entry.predictions) == len(entry.truths) == 1:
            is_ordinary = bool(self._counted(key, _pairs(entry, met)).changes)
        return dump(entry, is_ordinary, self._layout)

    def _resolved(self, prediction: PredictionPart, truths: Sequence[TruthPart]) -> Resolution:
        horizons = self._book.horizons[prediction.name]
        return resolve(prediction, truths, horizons, self._book.label_text)


def _pairs(entry: Entry, met: Meetings) -> list[_Pair]:
    truths_of = [distinct_truths(entry.truths, of) for of in met.truths_of]
    return list(zip(entry.predictions, truths_of, strict=True))


def _first_expiry(met: Meetings) -> int | None:
    """Time after which the first group of an entry expires, in ms; None for an empty entry."""
    return min((group.expires_ms for group in met.groups), default=None)


def _arrivals(
    keys: dict[bytes, None], predictions: Predictions | None, truths: Truths | None
) -> dict[bytes, list[Arrival]]:
    """Rows of each id in `keys`, by rank."""
    arrivals: dict[bytes, list[Arrival]] = {key: [] for key in keys}
    for rows, is_truth in ((predictions, False), (truths, True)):
        if rows is None:
            continue
        arrived_ms = np.maximum(rows.timestamp_ms, rows.floor_ms).tolist()
        for i, (key, rank) in enumerate(zip(rows.keys, rows.rank.tolist(), strict=True)):
            if key in arrivals:
                arrivals[key].append(Arrival(rank, is_truth, i, arrived_ms[i]))
    for of_key in arrivals.values():
        of_key.sort()
    return arrivals


def _difference(before: list[_Row], after: list[_Row]) -> list[tuple[_Row, int]]:
    """Rows that `after` has more often than `before`, with how often, and the reverse with a
    negative number.
    """
    if before == after:
        return []
    counts: dict[_Row, int] = {}
    for rows, sign in ((before, -1), (after, 1)):
        for row in rows:
            counts[row] = counts.get(row, 0) + sign
    return [(row, count) for row, count in counts.items() if count]


def _outcome_changes(
    rank: int, key: bytes, changes: list[tuple[ChangeRow, int]]
) -> list[OutcomeChange]:
    return [
        OutcomeChange(
            rank=rank,
            name=row.name,
            key=key,
            segments=row.segments,
            timestamp_ms=row.timestamp_ms,
            predicted=row.predicted,
            score=row.score,
            known_ms=row.known_ms,
            delay_ms=row.delay_ms,
            old=row.old,
            new=row.new,
            first=row.first,
        )
        for row, sign in changes
        if sign > 0
    ]
