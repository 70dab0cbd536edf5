"""The join of a whole batch: the common cases as columns, the other ids one at a time.

The batch path takes a prediction with a new id, a truth with a label whose prediction waits or is
in the same batch, a truth whose id is unknown, and a prediction whose truth, with a label, came in
an earlier batch. While a backlog is read, where the topics are not in step, that is nearly every
row. All other ids go through `sequential_join.py`, which follows the definition in `entry.py`. Both
paths give the same increments and the same entries.
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
from driftline.streams.join.label_changes import LabelChanges
from driftline.streams.join.lane_counts import BatchCounts
from driftline.streams.join.outcomes import OutcomeChange
from driftline.streams.join.sequential_join import JoinResult, SequentialJoin
from driftline.streams.lanes import NO_LABEL
from driftline.streams.masks import all_true, any_true
from driftline.streams.stage import State

_KIND = itemgetter(0)  # the first byte of an entry


class BatchJoin:
    """Entries of one partition, a batch at a time."""

    def __init__(
        self, book: CodeBook, index: ExpiryIndex, sequential: SequentialJoin, config: Config
    ) -> None:
        self._book = book
        self._index = index
        self._sequential = sequential
        self._park_ms = config.park_ms
        self._repeat_ms = config.truth_repeat_ms
        self._has_outcomes = config.outcomes
        self._layout = layout_for(len(config.segments))
        self._opaque = np.dtype((np.void, self._layout.itemsize))

    def apply(
        self,
        predictions: Predictions | None,
        truths: Truths | None,
        counts: BatchCounts,
        state: State,
    ) -> JoinResult:
        """Join the rows of one batch, count what changes, and write the entries that changed."""
        p_keys = predictions.keys if predictions else []
        t_keys = truths.keys if truths else []
        place = dict(zip(p_keys, range(len(p_keys)), strict=True))
        # Index of the prediction of each truth, -1 where it is not in this batch.
        t_place = np.fromiter(map(place.get, t_keys, repeat(-1)), np.int64, len(t_keys))
        outside, here = np.flatnonzero(t_place < 0), np.flatnonzero(t_place >= 0)
        outside_keys = _picked(t_keys, outside)
        # Ids that the batch path cannot take: those with several predictions or truths in this
        # batch, or with an entry that is not a single parked truth.
        sequential: dict[bytes, None] = {}
        if len(place) < len(p_keys):
            sequential.update(_repeated(p_keys))
        if (
            len(frozenset(outside_keys)) < len(outside_keys)
            or np.bincount(t_place[here]).max(initial=0) > 1
        ):
            sequential.update(_repeated(t_keys))
        parked_at, parked_rows = self._with_parked_truth(p_keys, t_keys, sequential, state)

        # Kind of the entry of each truth whose prediction is not in this batch, 0 without one.
        stored = state.get_many(outside_keys)
        kind = np.fromiter(map(_KIND, [entry or b"\0" for entry in stored]), np.uint8, len(stored))
        waiting, unknown = np.flatnonzero(kind == WAITING), np.flatnonzero(kind == 0)
        sequential.update(dict.fromkeys(_picked(outside_keys, np.flatnonzero(kind > WAITING))))

        outcomes: list[OutcomeChange] = []
        rows = self._waiting_rows(predictions)
        has_truth = np.zeros(len(p_keys), np.bool_)
        if truths is not None:
            # Truths of earlier predictions come first, as they mostly do on the topic.
            at = np.concatenate([outside[waiting], here])
            # `take` is ten times as fast on rows of several fields as an index, and as
            # concatenation.
            joined = np.empty(len(at), self._layout)
            joined[: len(waiting)] = np.frombuffer(b"".join(_picked(stored, waiting)), self._layout)
            joined[len(waiting) :] = rows.take(t_place[here])
            joined["label"], joined["revision"] = truths.label[at], truths.revision[at]
            joined["truth_ms"], joined["known_ms"] = truths.timestamp_ms[at], truths.known_ms[at]
            kept, joined, keys = self._ordinary(joined, _picked(t_keys, at), sequential)
            at = at[kept]
            self._join(joined, keys, counts, state)
            has_truth[t_place[at][t_place[at] >= 0]] = True
            if self._has_outcomes:
                rank = _latest_rank(predictions, truths, at, t_place)
                outcomes += self._outcomes(joined, keys, rank)
            park_at = outside[unknown]
            if sequential:
                park_at = park_at[~_isin(_picked(t_keys, park_at), sequential)]
            self._park(truths, park_at, state)
        if predictions is not None and len(parked_at):
            joined = rows.take(parked_at)
            for field in ("label", "revision", "truth_ms", "known_ms"):
                joined[field] = parked_rows[field]
            kept, joined, keys = self._ordinary(joined, _picked(p_keys, parked_at), sequential)
            self._join(joined, keys, counts, state)
            has_truth[parked_at[kept]] = True
            if self._has_outcomes:
                outcomes += self._outcomes(joined, keys, predictions.rank[parked_at[kept]])

        accepted = np.arange(len(p_keys))
        if sequential:
            accepted = accepted[~_isin(p_keys, sequential)]
        if len(accepted):
            self._wait(rows, p_keys, accepted[~has_truth[accepted]], state)
        if not sequential:
            return JoinResult(accepted.tolist(), [], [], outcomes)
        others = self._sequential.apply(sequential, predictions, truths, counts, state)
        return JoinResult(
            accepted=sorted(accepted.tolist() + others.accepted),
            conflicting=others.conflicting,
            duplicates=others.duplicates,
            outcomes=outcomes + others.outcomes,
        )

    def _with_parked_truth(
        self, p_keys: list[bytes], t_keys: list[bytes], sequential: dict[bytes, None], state: State
    ) -> tuple[Ints, NDArray[np.void]]:
        """Indexes of the predictions that have a parked truth and nothing else, shape (N,), and
        its entry; other ids with an entry are added to `sequential`.
        """
        at: list[int] = []
        stored = state.get_many(p_keys)
        if stored.count(None) < len(stored):
            with_truth_here = frozenset(t_keys)
            for i, (key, entry) in enumerate(zip(p_keys, stored, strict=True)):
                if entry is None:
                    continue
                if entry[0] == PARKED and key not in with_truth_here and key not in sequential:
                    at.append(i)
                else:
                    sequential[key] = None
        indexes = np.array(at, np.int64)
        return indexes, np.frombuffer(b"".join(_picked(stored, indexes)), self._layout)

    def _waiting_rows(self, predictions: Predictions | None) -> NDArray[np.void]:
        rows = np.zeros(len(predictions) if predictions else 0, self._layout)
        if predictions:
            rows["kind"], rows["label"] = WAITING, NO_LABEL
            for field in (
                "name",
                "predicted",
                "score",
                "timestamp_ms",
                "floor_ms",
                "fingerprint",
                "segments",
            ):
                rows[field] = getattr(predictions, field)
        return rows

    def _ordinary(
        self, rows: NDArray[np.void], keys: list[bytes], sequential: dict[bytes, None]
    ) -> tuple[NDArray[np.bool_] | slice, NDArray[np.void], list[bytes]]:
        """Mask of the rows that the batch path takes, those rows and their keys; the other ids are
        added to `sequential`.
        """
        is_ordinary = self.is_ordinary(rows)
        if sequential:
            is_ordinary &= ~_isin(keys, sequential)
        if all_true(is_ordinary):
            return slice(None), rows, keys
        sequential.update(dict.fromkeys(_picked(keys, np.flatnonzero(~is_ordinary))))
        kept = np.flatnonzero(is_ordinary)
        return is_ordinary, rows.take(kept), _picked(keys, kept)

    def is_ordinary(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether the truth of each row gives its prediction a label within all horizons, whichever
        of the two came first.
        """
        arrived_ms = np.maximum(rows["timestamp_ms"], rows["floor_ms"])
        expires_ms = rows["timestamp_ms"] + self._book.label_horizon_ms[rows["name"]]
        labelled = (rows["label"] != NO_LABEL) & (rows["predicted"] != NO_LABEL)
        in_time = (np.maximum(rows["known_ms"], arrived_ms) <= expires_ms) & (
            arrived_ms <= rows["known_ms"] + self._park_ms
        )
        return np.asarray(labelled & in_time, np.bool_)

    def _join(
        self, rows: NDArray[np.void], keys: list[bytes], counts: BatchCounts, state: State
    ) -> None:
        if not len(keys):
            return
        rows["kind"] = JOINED
        name, timestamp_ms, score = (
            rows[field].astype(np.int64) for field in ("name", "timestamp_ms", "score")
        )
        known = known_ms(rows)
        hashes = np.zeros(len(keys), np.uint64)
        if counts.has_arrivals or any_true(score >= 0):  # nothing else reads them
            hashes = id_hashes(keys)
        changes = LabelChanges(
            name=name,
            segments=rows["segments"].astype(np.int64),
            timestamp_ms=timestamp_ms,
            predicted=rows["predicted"].astype(np.int64),
            score=score,
            hashes=hashes,
            known_ms=known,
            delay_ms=known - timestamp_ms,
            old=np.full(len(keys), NO_LABEL),
            new=rows["label"].astype(np.int64),
            first=np.ones(len(keys), np.bool_),
            sign=np.ones(len(keys), np.int64),
        )
        counts.changes(changes)
        state.put_many(keys, self._encoded(rows))
        expires_ms = np.maximum(
            known + self._book.correction_horizon_ms[name], rows["known_ms"] + self._repeat_ms
        )
        self._index.add(keys, expires_ms, state)

    def _outcomes(
        self, rows: NDArray[np.void], keys: list[bytes], rank: Ints
    ) -> list[OutcomeChange]:
        known = known_ms(rows)
        columns = [
            rows[field].tolist()
            for field in ("name", "segments", "timestamp_ms", "predicted", "score", "label")
        ]
        delay = (known - rows["timestamp_ms"]).tolist()
        return [
            OutcomeChange(
                rank=at,
                name=name,
                key=key,
                segments=tuple(segments),
                timestamp_ms=event_ms,
                predicted=predicted,
                score=score,
                known_ms=truth_known_ms,
                delay_ms=delay_ms,
                old=NO_LABEL,
                new=label,
                first=True,
            )
            for at, key, truth_known_ms, delay_ms, (
                name,
                segments,
                event_ms,
                predicted,
                score,
                label,
            ) in zip(
                rank.tolist(),
                keys,
                known.tolist(),
                delay,
                zip(*columns, strict=True),
                strict=True,
            )
        ]

    def _park(self, truths: Truths, at: Ints, state: State) -> None:
        """Write the truths at `at`, whose ids are unknown."""
        if not len(at):
            return
        rows = np.zeros(len(at), self._layout)
        rows["kind"] = PARKED
        rows["label"], rows["revision"] = truths.label[at], truths.revision[at]
        rows["truth_ms"], rows["known_ms"] = truths.timestamp_ms[at], truths.known_ms[at]
        keys = _picked(truths.keys, at)
        state.put_many(keys, self._encoded(rows))
        self._index.add(keys, truths.known_ms[at] + self._park_ms, state)

    def _wait(self, rows: NDArray[np.void], keys: list[bytes], at: Ints, state: State) -> None:
        """Write the predictions at `at`, which have no truth yet."""
        waiting, keys = rows.take(at), _picked(keys, at)
        state.put_many(keys, self._encoded(waiting))
        expires_ms = waiting["timestamp_ms"] + self._book.label_horizon_ms[waiting["name"]]
        self._index.add(keys, expires_ms, state)

    def _encoded(self, rows: NDArray[np.void]) -> list[bytes]:
        encoded: list[bytes] = rows.view(self._opaque).tolist()
        return encoded


def _latest_rank(predictions: Predictions | None, truths: Truths, at: Ints, place: Ints) -> Ints:
    """Rank of the later row of each joined pair, shape (N,).

    `place` is the index of a truth's prediction in the batch, -1 where it came before.
    """
    rank = truths.rank[at].copy()
    here = place[at] >= 0
    if predictions is not None:
        rank[here] = np.maximum(rank[here], predictions.rank[place[at][here]])
    return rank


def _picked(values: Sequence[Any], at: Ints) -> list[Any]:
    return list(map(values.__getitem__, at.tolist()))


def _isin(keys: list[bytes], ids: dict[bytes, None]) -> NDArray[np.bool_]:
    return np.fromiter(map(ids.__contains__, keys), np.bool_, len(keys))


def _repeated(keys: list[bytes]) -> dict[bytes, None]:
    times: dict[bytes, int] = {}
    for key in keys:
        times[key] = times.get(key, 0) + 1
    return {key: None for key, count in times.items() if count > 1}
