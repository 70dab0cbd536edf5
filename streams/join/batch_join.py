"""The join of one batch: ordinary rows all at once, the others one id at a time.

Ordinary are a prediction with a new id, a truth with a label for an id that waits or comes in the
same batch, a truth whose id is not known yet, and a prediction whose truth, with a label, came in
an earlier batch: all of them are while a backlog is read, where the topics are not read in step.
Everything else goes through `single.py`, which follows the definition in `entry.py`; both ways give
the same increments and the same entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.streams.hashing import id_hashes
from driftline.streams.join.batch_rows import Predictions, Truths
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.entry import JOINED, PARKED, WAITING, known_ms, layout_for
from driftline.streams.join.expiry_index import ExpiryIndex
from driftline.streams.join.increments import Ints
from driftline.streams.join.lane_counts import Changes, Counting
from driftline.streams.join.outcomes import OutcomeChange
from driftline.streams.join.sequential_join import Found, SequentialJoin
from driftline.streams.lanes import NO_LABEL
from driftline.streams.masks import all_true, any_true
from driftline.streams.stage import State

_KIND = itemgetter(0)


class BatchJoin:
    """Entries of one partition, a batch at a time."""

    def __init__(
        self, texts: CodeBook, due: ExpiryIndex, single: SequentialJoin, config: Config
    ) -> None:
        self._texts = texts
        self._due = due
        self._single = single
        self._park_ms = config.park_ms
        self._outcomes = config.outcomes
        self._layout = layout_for(len(config.segments))
        self._opaque = np.dtype((np.void, self._layout.itemsize))

    def apply(
        self,
        predictions: Predictions | None,
        truths: Truths | None,
        counting: Counting,
        state: State,
    ) -> Found:
        """Join the rows of one batch, count what changes, and put the entries that changed."""
        p_keys = predictions.keys if predictions else []
        t_keys = truths.keys if truths else []
        place = dict(zip(p_keys, range(len(p_keys)), strict=True))
        t_place = np.fromiter(map(place.get, t_keys, repeat(-1)), np.int64, len(t_keys))
        outside, here = np.flatnonzero(t_place < 0), np.flatnonzero(t_place >= 0)
        outside_keys = _picked(t_keys, outside)
        # No ordinary ids: those with several predictions or truths in this batch, or with an entry
        # that is no single parked truth.
        apart: dict[bytes, None] = {}
        if len(place) < len(p_keys):
            apart.update(_repeated(p_keys))
        if (
            len(frozenset(outside_keys)) < len(outside_keys)
            or np.bincount(t_place[here]).max(initial=0) > 1
        ):
            apart.update(_repeated(t_keys))
        early, early_rows = self._early(p_keys, t_keys, apart, state)

        # What waits in the state for the truths whose prediction is not in this batch: 0 where
        # there is nothing.
        stored = state.get_many(outside_keys)
        kind = np.fromiter(map(_KIND, [entry or b"\0" for entry in stored]), np.uint8, len(stored))
        waits, unknown = np.flatnonzero(kind == WAITING), np.flatnonzero(kind == 0)
        apart.update(dict.fromkeys(_picked(outside_keys, np.flatnonzero(kind > WAITING))))

        told: list[OutcomeChange] = []
        rows = self._waiting_rows(predictions)
        met = np.zeros(len(p_keys), np.bool_)
        if truths is not None:
            # Truths of earlier predictions come first, as they mostly do on the topic.
            at = np.concatenate([outside[waits], here])
            # `take` is ten times as fast on rows of several fields as an index, and as
            # concatenation.
            joined = np.empty(len(at), self._layout)
            joined[: len(waits)] = np.frombuffer(b"".join(_picked(stored, waits)), self._layout)
            joined[len(waits) :] = rows.take(t_place[here])
            joined["label"], joined["revision"] = truths.label[at], truths.revision[at]
            joined["truth_ms"], joined["known_ms"] = truths.timestamp_ms[at], truths.known_ms[at]
            kept, joined, keys = self._ordinary(joined, _picked(t_keys, at), apart)
            at = at[kept]
            self._join(joined, keys, counting, state)
            met[t_place[at][t_place[at] >= 0]] = True
            if self._outcomes:
                told += self._told(joined, keys, _latest_rank(predictions, truths, at, t_place))
            parked = outside[unknown]
            if apart:
                parked = parked[~_isin(_picked(t_keys, parked), apart)]
            self._park(truths, parked, state)
        if predictions is not None and len(early):
            joined = rows.take(early)
            for field in ("label", "revision", "truth_ms", "known_ms"):
                joined[field] = early_rows[field]
            kept, joined, keys = self._ordinary(joined, _picked(p_keys, early), apart)
            self._join(joined, keys, counting, state)
            met[early[kept]] = True
            if self._outcomes:
                told += self._told(joined, keys, predictions.rank[early[kept]])

        accepted = np.arange(len(p_keys))
        if apart:
            accepted = accepted[~_isin(p_keys, apart)]
        if len(accepted):
            self._wait(rows, p_keys, accepted[~met[accepted]], state)
        found = Found(accepted.tolist(), [], told)
        if apart:
            single = self._single.apply(apart, predictions, truths, counting, state)
            found = Found(
                sorted(found.accepted + single.accepted), single.conflicting, told + single.told
            )
        return found

    def _early(
        self, p_keys: list[bytes], t_keys: list[bytes], apart: dict[bytes, None], state: State
    ) -> tuple[Ints, NDArray[np.void]]:
        """Which predictions have a parked truth and nothing else, shape (N,), and its entry; other
        ids with an entry join `apart`.
        """
        early: list[int] = []
        stored = state.get_many(p_keys)
        if stored.count(None) < len(stored):
            more = frozenset(t_keys)
            for at, (key, entry) in enumerate(zip(p_keys, stored, strict=True)):
                if entry is not None:
                    if entry[0] == PARKED and key not in more and key not in apart:
                        early.append(at)
                    else:
                        apart[key] = None
        found = np.array(early, np.int64)
        return found, np.frombuffer(b"".join(_picked(stored, found)), self._layout)

    def _waiting_rows(self, predictions: Predictions | None) -> NDArray[np.void]:
        rows = np.zeros(len(predictions) if predictions else 0, self._layout)
        if predictions:
            rows["kind"], rows["label"] = WAITING, NO_LABEL
            rows["name"], rows["predicted"], rows["score"] = (
                predictions.name,
                predictions.predicted,
                predictions.score,
            )
            rows["timestamp_ms"], rows["floor_ms"] = predictions.timestamp_ms, predictions.floor_ms
            rows["fingerprint"], rows["segments"] = predictions.fingerprint, predictions.segments
        return rows

    def _ordinary(
        self, rows: NDArray[np.void], keys: list[bytes], apart: dict[bytes, None]
    ) -> tuple[NDArray[np.bool_] | slice, NDArray[np.void], list[bytes]]:
        """Which rows are ordinary and not `apart`, those rows and their keys; the other ids join
        `apart`.
        """
        ordinary = self._is_ordinary(rows)
        if apart:
            ordinary &= ~_isin(keys, apart)
        if all_true(ordinary):
            return slice(None), rows, keys
        apart.update(dict.fromkeys(_picked(keys, np.flatnonzero(~ordinary))))
        kept = np.flatnonzero(ordinary)
        return ordinary, rows.take(kept), _picked(keys, kept)

    def _is_ordinary(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether the truth of each row gives its prediction a label within all horizons, whichever
        of the two came first.
        """
        arrived_ms = np.maximum(rows["timestamp_ms"], rows["floor_ms"])
        expires_ms = rows["timestamp_ms"] + self._texts.label_horizon_ms[rows["name"]]
        labelled = (rows["label"] != NO_LABEL) & (rows["predicted"] != NO_LABEL)
        in_time = (np.maximum(rows["known_ms"], arrived_ms) <= expires_ms) & (
            arrived_ms <= rows["known_ms"] + self._park_ms
        )
        return np.asarray(labelled & in_time, np.bool_)

    def _join(
        self, rows: NDArray[np.void], keys: list[bytes], counting: Counting, state: State
    ) -> None:
        if not len(keys):
            return
        rows["kind"] = JOINED
        columns = {
            field: rows[field].astype(np.int64)
            for field in ("name", "predicted", "score", "segments", "timestamp_ms", "label")
        }
        known = known_ms(rows)
        hashes = np.zeros(len(keys), np.uint64)
        if counting.arrivals or any_true(columns["score"] >= 0):  # nothing else looks at them
            hashes = id_hashes(keys)
        counting.changes(
            Changes(
                columns["name"],
                columns["segments"],
                columns["timestamp_ms"],
                columns["predicted"],
                columns["score"],
                hashes,
                known,
                known - columns["timestamp_ms"],
                np.full(len(keys), NO_LABEL),
                columns["label"],
                np.ones(len(keys), np.bool_),
                np.ones(len(keys), np.int64),
            )
        )
        state.put_many(keys, self._encoded(rows))
        self._due.add(keys, known + self._texts.correction_horizon_ms[columns["name"]], state)

    def _told(self, rows: NDArray[np.void], keys: list[bytes], rank: Ints) -> list[OutcomeChange]:
        known = known_ms(rows)
        columns = [
            rows[field].tolist()
            for field in ("name", "segments", "timestamp_ms", "predicted", "score", "label")
        ]
        delay = (known - rows["timestamp_ms"]).tolist()
        return [
            OutcomeChange(
                at,
                name,
                key,
                tuple(segments),
                timestamp,
                predicted,
                score,
                known_at,
                late,
                NO_LABEL,
                label,
                True,
            )
            for at, key, name, segments, timestamp, predicted, score, label, known_at, late in zip(
                rank.tolist(), keys, *columns, known.tolist(), delay, strict=True
            )
        ]

    def _park(self, truths: Truths, at: Ints, state: State) -> None:
        if not len(at):
            return
        rows = np.zeros(len(at), self._layout)
        rows["kind"], rows["label"], rows["revision"] = (
            PARKED,
            truths.label[at],
            truths.revision[at],
        )
        rows["truth_ms"], rows["known_ms"] = truths.timestamp_ms[at], truths.known_ms[at]
        keys = _picked(truths.keys, at)
        state.put_many(keys, self._encoded(rows))
        self._due.add(keys, truths.known_ms[at] + self._park_ms, state)

    def _wait(self, rows: NDArray[np.void], keys: list[bytes], at: Ints, state: State) -> None:
        """Put the predictions of this batch that no truth of this batch has met."""
        waiting, keys = rows.take(at), _picked(keys, at)
        state.put_many(keys, self._encoded(waiting))
        self._due.add(
            keys, waiting["timestamp_ms"] + self._texts.label_horizon_ms[waiting["name"]], state
        )

    def _encoded(self, rows: NDArray[np.void]) -> list[bytes]:
        encoded: list[bytes] = rows.view(self._opaque).tolist()
        return encoded


def _latest_rank(predictions: Predictions | None, truths: Truths, at: Ints, place: Ints) -> Ints:
    """Rank of the later row of each joined pair, shape (N,);

    `place` is the prediction's index where it came in the same batch.
    """
    rank = truths.rank[at].copy()
    here = place[at] >= 0
    if predictions is not None:
        rank[here] = np.maximum(rank[here], predictions.rank[place[at][here]])
    return rank


def _picked(values: Sequence[Any], at: Ints) -> list[Any]:
    return list(map(values.__getitem__, at.tolist()))


def _isin(keys: list[bytes], some: dict[bytes, None]) -> NDArray[np.bool_]:
    return np.fromiter(map(some.__contains__, keys), np.bool_, len(keys))


def _repeated(keys: list[bytes]) -> dict[bytes, None]:
    seen: dict[bytes, int] = {}
    for key in keys:
        seen[key] = seen.get(key, 0) + 1
    return {key: None for key, times in seen.items() if times > 1}
