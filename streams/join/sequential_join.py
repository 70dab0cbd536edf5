"""The join for one id at a time: everything that is not an ordinary row of a batch.

Duplicates, conflicts, corrections, retractions, truths that came first, ids that several models
share, and rows that come after their id was forgotten. The outcome follows from `entry.py`; what
changed against before is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from driftline.schemas.settings import Config
from driftline.streams.hashing import id_hashes
from driftline.streams.join.batch_rows import Predictions, Truths
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.entry import (
    NO_FINGERPRINT,
    Entry,
    PredictionPart,
    TruthPart,
    dump,
    layout_for,
    load,
    outcome,
    prediction_due_ms,
)
from driftline.streams.join.expiry_index import ExpiryIndex
from driftline.streams.join.lane_counts import Changes, Counting
from driftline.streams.join.outcomes import OutcomeChange
from driftline.streams.lanes import NO_LABEL
from driftline.streams.stage import State


class Found(msgspec.Struct, gc=False):
    """What the join says of single rows: those accepted as new predictions, those that contradict
    an accepted one, and outcomes.
    """

    accepted: list[int]
    conflicting: list[int]
    told: list[OutcomeChange]


class SequentialJoin:
    """Entries of one partition, one at a time."""

    def __init__(self, texts: CodeBook, due: ExpiryIndex, config: Config) -> None:
        self._texts = texts
        self._due = due
        self._dimensions = len(config.segments)
        self._park_ms = config.park_ms
        self._outcomes = config.outcomes
        self._layout = layout_for(self._dimensions)

    def apply(
        self,
        keys: dict[bytes, None],
        predictions: Predictions | None,
        truths: Truths | None,
        counting: Counting,
        state: State,
    ) -> Found:
        """Apply all rows of the ids `keys` in the order in which they were read."""
        rows: dict[bytes, list[tuple[int, bool, int, int]]] = {key: [] for key in keys}
        for arrived, is_truth in ((predictions, False), (truths, True)):
            if arrived is not None:
                arrived_ms = np.maximum(arrived.timestamp_ms, arrived.floor_ms).tolist()
                for i, (key, rank) in enumerate(
                    zip(arrived.keys, arrived.rank.tolist(), strict=True)
                ):
                    if key in rows:
                        rows[key].append((rank, is_truth, i, arrived_ms[i]))
        accepted: list[int] = []
        conflicting: list[int] = []
        told: list[OutcomeChange] = []
        changes: list[tuple[Any, ...]] = []
        entries: list[bytes] = []
        for (key, its), encoded in zip(rows.items(), state.get_many(list(rows)), strict=True):
            entry = Entry([], []) if encoded is None else load(encoded, self._layout)
            listed = due = self.due_ms(entry)
            before = self._changes_of(key, entry)
            for rank, is_truth, i, at_ms in sorted(its):
                if due is not None and at_ms > due:
                    self.bury(entry, counting, state)
                    entry, before = Entry([], []), []
                if is_truth and truths is not None:
                    self._meet_truth(entry, truths, i, counting, state)
                elif predictions is not None:
                    self._meet_prediction(entry, predictions, i, counting, accepted, conflicting)
                due, after = self.due_ms(entry), self._changes_of(key, entry)
                different, before = _difference(before, after), after
                changes += different
                if self._outcomes:
                    new = (
                        different
                        if is_truth
                        else self._one_by_one(key, entry)
                        if i in accepted[-1:]
                        else []
                    )
                    told += [
                        OutcomeChange(rank, row[0], key, *row[1:5], *row[6:11])
                        for row in new
                        if len(row) > 4 and row[-1] > 0
                    ]
            entries.append(dump(entry, self._is_in_force(entry), self._layout))
            if due is not None and due != listed:
                self._due.add([key], np.array([due], np.int64), state)
        state.put_many(list(rows), entries)
        self._count_changes(changes, counting)
        return Found(accepted, conflicting, told)

    def _one_by_one(self, key: bytes, entry: Entry) -> list[tuple[Any, ...]]:
        """What the truths of an entry change for its newest prediction, one after the other.

        So outcomes are the same whether the prediction was read before its truths or after them.
        """
        told: list[tuple[Any, ...]] = []
        before: list[tuple[Any, ...]] = []
        for count in range(1, len(entry.truths) + 1):
            after = self._changes_of(key, Entry(entry.predictions[-1:], entry.truths[:count]))
            told, before = told + _difference(before, after), after
        return told

    def _meet_prediction(
        self,
        entry: Entry,
        rows: Predictions,
        i: int,
        counting: Counting,
        accepted: list[int],
        conflicting: list[int],
    ) -> None:
        part = PredictionPart(
            int(rows.name[i]),
            int(rows.timestamp_ms[i]),
            int(rows.floor_ms[i]),
            int(rows.fingerprint[i]),
            int(rows.predicted[i]),
            int(rows.score[i]),
            tuple(rows.segments[i].tolist()),
        )
        same = next((p for p in entry.predictions if p.name == part.name), None)
        if same is None:
            entry.predictions.append(part)
            for truth in entry.truths:
                truth.met = True
            accepted.append(i)
            return
        repeated = same.fingerprint in (part.fingerprint, NO_FINGERPRINT)
        if not repeated:
            conflicting.append(i)
        counter = "duplicate_predictions" if repeated else "conflicting_predictions"
        self._count(
            counter, part.name, part.segments, max(part.timestamp_ms, part.floor_ms), 1, counting
        )

    def _meet_truth(
        self, entry: Entry, rows: Truths, i: int, counting: Counting, state: State
    ) -> None:
        revision, label, timestamp_ms, known_ms = (
            int(c[i]) for c in (rows.revision, rows.label, rows.timestamp_ms, rows.known_ms)
        )
        part = TruthPart(revision, label, timestamp_ms, known_ms, met=bool(entry.predictions))
        same = next(
            (t for t in entry.truths if (t.revision, t.label) == (part.revision, part.label)), None
        )
        if same is None:
            entry.truths.append(part)
            return
        same.timestamp_ms = min(same.timestamp_ms, part.timestamp_ms)
        same.known_ms = min(same.known_ms, part.known_ms)
        self._count(
            "duplicate_truths",
            self._texts.no_model(state),
            (0,) * self._dimensions,
            part.known_ms,
            1,
            counting,
        )

    def _changes_of(self, key: bytes, entry: Entry) -> list[tuple[Any, ...]]:
        """Everything that the entry has counted, without sign: changes of outcomes, and late truths
        with two columns.
        """
        found: list[tuple[Any, ...]] = []
        hashed = int(id_hashes([key])[0])
        for p in entry.predictions:
            if p.predicted == NO_LABEL or not entry.truths:
                continue
            result = outcome(
                p, entry.truths, self._texts.horizons[p.name], self._texts.labels.names
            )
            for c in result.changes:
                found.append(
                    (
                        p.name,
                        p.segments,
                        p.timestamp_ms,
                        p.predicted,
                        p.score,
                        hashed,
                        c.known_ms,
                        c.delay_ms,
                        c.old,
                        c.new,
                        c.first,
                    )
                )
            found += [(p.name, p.segments, known_ms) for known_ms in result.late_known_ms]
        return found

    def _count_changes(self, changes: list[tuple[Any, ...]], counting: Counting) -> None:
        counting.changes(Changes.of([row for row in changes if len(row) > 4], self._dimensions))
        for row in changes:
            if len(row) == 4:
                self._count("late_truths", row[0], row[1], row[2], row[3], counting)

    def _count(
        self,
        counter: str,
        name: int,
        segments: Sequence[int],
        time_ms: int,
        sign: int,
        counting: Counting,
    ) -> None:
        one = np.array(segments, np.int64).reshape(1, self._dimensions)
        counting.counter(counter, np.array([name]), one, np.array([time_ms]), np.array([sign]))

    def _is_in_force(self, entry: Entry) -> bool:
        """Whether the one truth of the one prediction, where the entry has just these, counts and
        is a label.
        """
        if len(entry.predictions) != 1 or len(entry.truths) != 1:
            return True
        p = entry.predictions[0]
        result = outcome(p, entry.truths, self._texts.horizons[p.name], self._texts.labels.names)
        return bool(result.changes) and p.predicted != NO_LABEL

    def due_ms(self, entry: Entry) -> int | None:
        """When the last part of the entry may be forgotten; None for an empty entry."""
        due = [t.known_ms + self._park_ms for t in entry.truths if not t.met]
        for p in entry.predictions:
            horizons = self._texts.horizons[p.name]
            due.append(
                prediction_due_ms(
                    p, outcome(p, entry.truths, horizons, self._texts.labels.names), horizons
                )
            )
        return max(due, default=None)

    def bury(self, entry: Entry, counting: Counting, state: State) -> None:
        """Count what an entry ends as, at its due time: the panes of what was due before may be
        complete by then.
        """
        due_ms = self.due_ms(entry)
        if due_ms is None:
            return
        for p in entry.predictions:
            found = outcome(p, entry.truths, self._texts.horizons[p.name], self._texts.labels.names)
            if p.predicted != NO_LABEL and found.first_known_ms is None:
                self._count("expired", p.name, p.segments, due_ms, 1, counting)
        for t in entry.truths:
            if not t.met:
                self._count(
                    "unmatched",
                    self._texts.no_model(state),
                    (0,) * self._dimensions,
                    due_ms,
                    1,
                    counting,
                )


def _difference(
    before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """What `after` counts and `before` did not with sign 1, and the reverse with sign -1."""
    counts: dict[tuple[Any, ...], int] = {}
    for rows, sign in ((before, -1), (after, 1)):
        for row in rows:
            counts[row] = counts.get(row, 0) + sign
    return [(*row, count) for row, count in counts.items() if count]
