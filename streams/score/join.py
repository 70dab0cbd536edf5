"""The join of one batch: ordinary rows all at once, the others one id at a time.

Ordinary are a prediction with a new id, a truth with a label for an id that waits or comes in the same batch, and a truth whose id is not
known yet. Everything else (duplicates, corrections, retractions, truths that came first, ids that several models share) goes through
`entry.py`, which is the definition; both ways give the same increments and the same entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.hashing import id_hashes
from streams.lanes import NO_LABEL
from streams.score.arrivals import ENTRY, Predictions, Texts, Truths
from streams.score.counting import Changes, Counting
from streams.score.entry import (
    GENERAL,
    JOINED,
    PARKED,
    WAITING,
    Entry,
    PredictionPart,
    TruthPart,
    dump,
    layout_for,
    load,
    outcome,
    prediction_due_ms,
)
from streams.score.forget import DueIndex
from streams.score.increments import Ints
from streams.stage import State

SLICE: Final = 20_000  # ids that one batch may forget; the rest waits for the next and holds the watermarks back


class Found(msgspec.Struct, gc=False):
    """What the join says of single rows: those accepted as new predictions, and those that contradict an accepted one."""

    accepted: Ints
    conflicting: list[int]


class Join:
    """Entries of one partition."""

    def __init__(self, texts: Texts, due: DueIndex, dimensions: int, park_ms: int) -> None:
        self._texts = texts
        self._due = due
        self._dimensions = dimensions
        self._park_ms = park_ms
        self._layout = layout_for(dimensions)

    def apply(self, predictions: Predictions | None, truths: Truths | None, counting: Counting, state: State) -> Found:
        """Join the rows of one batch, count what changes, and put the entries that changed."""
        p_keys = predictions.keys if predictions else []
        t_keys = truths.keys if truths else []
        place = {key: i for i, key in enumerate(p_keys)}
        stored = state.get_many(p_keys)
        t_place = np.fromiter((place.get(key, -1) for key in t_keys), np.int64, len(t_keys))
        outside = np.flatnonzero(t_place < 0)
        t_stored = state.get_many([t_keys[i] for i in outside.tolist()])

        one_by_one: dict[bytes, None] = {key: None for key, entry in zip(p_keys, stored, strict=True) if entry is not None}
        if len(place) < len(p_keys):
            one_by_one.update(_repeated(p_keys))
        if len(frozenset(t_keys)) < len(t_keys):
            one_by_one.update(_repeated(t_keys))
        waiting: list[int] = []  # truths whose prediction waits in the state
        unknown: list[int] = []
        for i, entry in zip(outside.tolist(), t_stored, strict=True):
            if entry is None:
                unknown.append(i)
            elif entry[0] == WAITING:
                waiting.append(i)
            else:
                one_by_one[t_keys[i]] = None

        writes: dict[bytes, bytes] = {}
        rows = self._waiting_rows(predictions)
        if truths is not None:
            here = np.flatnonzero(t_place >= 0)
            known = {i: entry for i, entry in zip(outside.tolist(), t_stored, strict=True)} if waiting else {}
            before = np.frombuffer(b"".join([known[i] or b"" for i in waiting]), self._layout)
            at = np.concatenate([here, np.array(waiting, np.int64)])
            joined = np.concatenate([rows[t_place[here]], before])
            ordinary = self._is_ordinary(joined, truths, at)
            if one_by_one:
                ordinary &= np.fromiter((t_keys[i] not in one_by_one for i in at.tolist()), np.bool_, len(at))
            one_by_one.update((t_keys[i], None) for i in at[~ordinary].tolist())
            at, joined = at[ordinary], joined[ordinary]
            self._join(joined, truths, at, [t_keys[i] for i in at.tolist()], counting, writes, state)
            self._park(truths, [i for i in unknown if t_keys[i] not in one_by_one], writes, state)

        accepted = np.arange(len(p_keys))
        if one_by_one and p_keys:
            accepted = np.flatnonzero(np.fromiter((key not in one_by_one for key in p_keys), np.bool_, len(p_keys)))
        if len(accepted):
            self._wait(rows, p_keys, accepted, writes, state)
        conflicting: list[int] = []
        if one_by_one:
            more = self._each(one_by_one, predictions, truths, counting, writes, conflicting, state)
            accepted = np.sort(np.concatenate([accepted, np.array(more, np.int64)]))
        state.put_many(writes)
        return Found(accepted, conflicting)

    # -- ordinary rows ---------------------------------------------------------------------------------------------------------

    def _waiting_rows(self, predictions: Predictions | None) -> NDArray[np.void]:
        rows = np.zeros(len(predictions) if predictions else 0, self._layout)
        if predictions:
            rows["kind"], rows["label"] = WAITING, NO_LABEL
            rows["name"], rows["predicted"], rows["score"] = predictions.name, predictions.predicted, predictions.score
            rows["timestamp_ms"], rows["floor_ms"] = predictions.timestamp_ms, predictions.floor_ms
            rows["fingerprint"], rows["segments"] = predictions.fingerprint, predictions.segments
        return rows

    def _is_ordinary(self, rows: NDArray[np.void], truths: Truths, at: Ints) -> NDArray[np.bool_]:
        """Whether each truth gives its waiting prediction a label within all horizons, whichever of the two came first."""
        arrived_ms = np.maximum(rows["timestamp_ms"], rows["floor_ms"])
        expires_ms = rows["timestamp_ms"] + self._texts.label_horizon_ms[rows["name"]]
        labelled = (truths.label[at] != NO_LABEL) & (rows["predicted"] != NO_LABEL)
        in_time = (np.maximum(truths.known_ms[at], arrived_ms) <= expires_ms) & (arrived_ms <= truths.known_ms[at] + self._park_ms)
        return np.asarray(labelled & in_time, np.bool_)

    def _join(
        self,
        rows: NDArray[np.void],
        truths: Truths,
        at: Ints,
        keys: list[bytes],
        counting: Counting,
        writes: dict[bytes, bytes],
        state: State,
    ) -> None:
        if not len(at):
            return
        rows["kind"], rows["label"], rows["revision"] = JOINED, truths.label[at], truths.revision[at]
        rows["truth_ms"], rows["known_ms"] = truths.timestamp_ms[at], truths.known_ms[at]
        columns = {field: rows[field].astype(np.int64) for field in ("name", "predicted", "score", "segments", "timestamp_ms", "label")}
        known_ms = _known_ms(rows)
        counting.changes(
            Changes(
                columns["name"],
                columns["segments"],
                columns["timestamp_ms"],
                columns["predicted"],
                columns["score"],
                id_hashes([key[len(ENTRY) :] for key in keys]),
                known_ms,
                known_ms - columns["timestamp_ms"],
                np.full(len(at), NO_LABEL),
                columns["label"],
                np.ones(len(at), np.bool_),
                np.ones(len(at), np.int64),
            )
        )
        writes.update(zip(keys, _encoded(rows), strict=True))
        self._due.add(keys, known_ms + self._texts.correction_horizon_ms[columns["name"]], state)

    def _park(self, truths: Truths, at: list[int], writes: dict[bytes, bytes], state: State) -> None:
        if not at:
            return
        rows = np.zeros(len(at), self._layout)
        rows["kind"], rows["label"], rows["revision"] = PARKED, truths.label[at], truths.revision[at]
        rows["truth_ms"], rows["known_ms"] = truths.timestamp_ms[at], truths.known_ms[at]
        keys = [truths.keys[i] for i in at]
        writes.update(zip(keys, _encoded(rows), strict=True))
        self._due.add(keys, truths.known_ms[at] + self._park_ms, state)

    def _wait(self, rows: NDArray[np.void], keys: list[bytes], accepted: Ints, writes: dict[bytes, bytes], state: State) -> None:
        """Put the predictions of this batch that no truth of this batch has met."""
        at = [i for i in accepted.tolist() if keys[i] not in writes]
        waiting = rows[at]
        keys_at = [keys[i] for i in at]
        writes.update(zip(keys_at, _encoded(waiting), strict=True))
        self._due.add(keys_at, waiting["timestamp_ms"] + self._texts.label_horizon_ms[waiting["name"]], state)

    # -- one id at a time ------------------------------------------------------------------------------------------------------

    def _each(
        self,
        keys: dict[bytes, None],
        predictions: Predictions | None,
        truths: Truths | None,
        counting: Counting,
        writes: dict[bytes, bytes],
        conflicting: list[int],
        state: State,
    ) -> list[int]:
        """Apply all rows of the ids `keys` in the order in which they were read; gives the predictions accepted as new."""
        rows: dict[bytes, list[tuple[int, bool, int, int]]] = {key: [] for key in keys}
        for arrived, is_truth in ((predictions, False), (truths, True)):
            if arrived is not None:
                arrived_ms = np.maximum(arrived.timestamp_ms, arrived.floor_ms).tolist()
                for i, (key, rank) in enumerate(zip(arrived.keys, arrived.rank.tolist(), strict=True)):
                    if key in rows:
                        rows[key].append((rank, is_truth, i, arrived_ms[i]))
        accepted: list[int] = []
        changes: list[tuple[Any, ...]] = []
        for (key, its), encoded in zip(rows.items(), state.get_many(list(rows)), strict=True):
            entry = Entry([], []) if encoded is None else load(encoded, self._layout)
            listed = due = self._due_ms(entry)
            before = self._changes_of(key, entry)
            for _, is_truth, i, at_ms in sorted(its):
                if due is not None and at_ms > due:
                    self._bury(entry, counting, state)
                    changes += _difference(before, self._changes_of(key, entry))
                    entry, before = Entry([], []), []
                if is_truth and truths is not None:
                    self._meet_truth(entry, truths, i, counting, state)
                elif predictions is not None:
                    self._meet_prediction(entry, predictions, i, counting, accepted, conflicting)
                due = self._due_ms(entry)
            changes += _difference(before, self._changes_of(key, entry))
            writes[key] = dump(entry, self._is_in_force(entry), self._layout)
            if due is not None and due != listed:
                self._due.add([key], np.array([due], np.int64), state)
        self._count_changes(changes, counting)
        return accepted

    def _meet_prediction(
        self, entry: Entry, rows: Predictions, i: int, counting: Counting, accepted: list[int], conflicting: list[int]
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
        repeated = same.fingerprint == part.fingerprint
        if not repeated:
            conflicting.append(i)
        counter = "duplicate_predictions" if repeated else "conflicting_predictions"
        self._count(counter, part.name, part.segments, max(part.timestamp_ms, part.floor_ms), 1, counting)

    def _meet_truth(self, entry: Entry, rows: Truths, i: int, counting: Counting, state: State) -> None:
        revision, label, timestamp_ms, known_ms = (int(c[i]) for c in (rows.revision, rows.label, rows.timestamp_ms, rows.known_ms))
        part = TruthPart(revision, label, timestamp_ms, known_ms, met=bool(entry.predictions))
        same = next((t for t in entry.truths if (t.revision, t.label) == (part.revision, part.label)), None)
        if same is None:
            entry.truths.append(part)
            return
        same.timestamp_ms = min(same.timestamp_ms, part.timestamp_ms)
        same.known_ms = min(same.known_ms, part.known_ms)
        self._count("duplicate_truths", self._texts.no_model(state), (0,) * self._dimensions, part.known_ms, 1, counting)

    def _changes_of(self, key: bytes, entry: Entry) -> list[tuple[Any, ...]]:
        """Everything that the entry has counted, without sign: changes of outcomes, and late truths with two columns."""
        found: list[tuple[Any, ...]] = []
        hashed = int(id_hashes([key[len(ENTRY) :]])[0])
        for p in entry.predictions:
            if p.predicted == NO_LABEL or not entry.truths:
                continue
            result = outcome(p, entry.truths, self._texts.horizons[p.name], self._texts.labels.texts)
            for c in result.changes:
                found.append(
                    (p.name, p.segments, p.timestamp_ms, p.predicted, p.score, hashed, c.known_ms, c.delay_ms, c.old, c.new, c.first)
                )
            found += [(p.name, p.segments, known_ms) for known_ms in result.late_known_ms]
        return found

    def _count_changes(self, changes: list[tuple[Any, ...]], counting: Counting) -> None:
        counting.changes(Changes.of([row for row in changes if len(row) > 4], self._dimensions))
        for row in changes:
            if len(row) == 4:
                self._count("late_truths", row[0], row[1], row[2], row[3], counting)

    def _count(self, counter: str, name: int, segments: Sequence[int], time_ms: int, sign: int, counting: Counting) -> None:
        one = np.array(segments, np.int64).reshape(1, self._dimensions)
        counting.counter(counter, np.array([name]), one, np.array([time_ms]), np.array([sign]))

    def _is_in_force(self, entry: Entry) -> bool:
        """Whether the one truth of the one prediction, where the entry has just these, counts and is a label."""
        if len(entry.predictions) != 1 or len(entry.truths) != 1:
            return True
        p = entry.predictions[0]
        result = outcome(p, entry.truths, self._texts.horizons[p.name], self._texts.labels.texts)
        return bool(result.changes) and p.predicted != NO_LABEL

    def _due_ms(self, entry: Entry) -> int | None:
        """When the last part of the entry may be forgotten; None for an empty entry."""
        due = [t.known_ms + self._park_ms for t in entry.truths if not t.met]
        for p in entry.predictions:
            horizons = self._texts.horizons[p.name]
            due.append(prediction_due_ms(p, outcome(p, entry.truths, horizons, self._texts.labels.texts), horizons))
        return max(due, default=None)

    # -- forgetting ------------------------------------------------------------------------------------------------------------

    def forget(self, reached_ms: int, counting: Counting, state: State) -> None:
        """Count and delete the entries whose due time both topics have passed, at most about SLICE of them."""
        # An id may be listed twice under one due time.
        keys = list(dict.fromkeys(self._due.take(reached_ms, SLICE, state)))
        if not keys:
            return
        simple: list[bytes] = []
        simple_keys: list[bytes] = []
        for key, encoded in zip(keys, state.get_many(keys), strict=True):
            if encoded is None:
                continue
            if encoded[0] != GENERAL:
                simple.append(encoded)
                simple_keys.append(key)
                continue
            entry = load(encoded, self._layout)
            due = self._due_ms(entry)
            if due is None or due < reached_ms:
                self._bury(entry, counting, state)
                state.delete(key)
        rows = np.frombuffer(b"".join(simple), self._layout)
        due_ms = self._due_of_rows(rows)
        gone = np.flatnonzero(due_ms < reached_ms)
        for i in gone.tolist():
            state.delete(simple_keys[i])
        self._count_gone(rows[gone], due_ms[gone], counting, state)

    def _due_of_rows(self, rows: NDArray[np.void]) -> Ints:
        due_ms = rows["known_ms"] + self._park_ms
        waiting, joined = rows["kind"] == WAITING, rows["kind"] == JOINED
        due_ms[waiting] = rows["timestamp_ms"][waiting] + self._texts.label_horizon_ms[rows["name"][waiting]]
        due_ms[joined] = _known_ms(rows[joined]) + self._texts.correction_horizon_ms[rows["name"][joined]]
        return due_ms

    def _count_gone(self, rows: NDArray[np.void], due_ms: Ints, counting: Counting, state: State) -> None:
        expired = (rows["kind"] == WAITING) & (rows["predicted"] != NO_LABEL)
        if expired.any():
            counting.counter("expired", rows["name"][expired].astype(np.int64), rows["segments"][expired].astype(np.int64), due_ms[expired])
        unmatched = int((rows["kind"] == PARKED).sum())
        if unmatched:
            name = np.full(unmatched, self._texts.no_model(state))
            counting.counter("unmatched", name, np.zeros((unmatched, self._dimensions), np.int64), due_ms[rows["kind"] == PARKED])

    def _bury(self, entry: Entry, counting: Counting, state: State) -> None:
        """Count what an entry ends as."""
        for p in entry.predictions:
            horizons = self._texts.horizons[p.name]
            if p.predicted != NO_LABEL and outcome(p, entry.truths, horizons, self._texts.labels.texts).first_known_ms is None:
                self._count("expired", p.name, p.segments, p.timestamp_ms + horizons.label_ms, 1, counting)
        for t in entry.truths:
            if not t.met:
                self._count("unmatched", self._texts.no_model(state), (0,) * self._dimensions, t.known_ms + self._park_ms, 1, counting)


def _known_ms(rows: NDArray[np.void]) -> Ints:
    """When the truth of each joined row counts as known to its prediction, shape (N,)."""
    known_ms: Ints = np.maximum(np.maximum(rows["known_ms"], rows["floor_ms"]), rows["timestamp_ms"])
    return known_ms


def _encoded(rows: NDArray[np.void]) -> list[bytes]:
    size, together = rows.dtype.itemsize, rows.tobytes()
    return [together[start : start + size] for start in range(0, len(together), size)]


def _repeated(keys: list[bytes]) -> dict[bytes, None]:
    seen: dict[bytes, int] = {}
    for key in keys:
        seen[key] = seen.get(key, 0) + 1
    return {key: None for key, times in seen.items() if times > 1}


def _difference(before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What `after` counts and `before` did not with sign 1, and the reverse with sign -1."""
    counts: dict[tuple[Any, ...], int] = {}
    for rows, sign in ((before, -1), (after, 1)):
        for row in rows:
            counts[row] = counts.get(row, 0) + sign
    return [(*row, count) for row, count in counts.items() if count]
