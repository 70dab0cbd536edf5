"""Increments of one batch, collected as columns and summed into one partial for each target
partition.

Rows name a series by model version and segment code. Each row counts for the segment "all" and for
each of its segment values.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.target_partitions import ByTargetPartition, edges
from driftline.streams.lanes import ALL, CELLS, LABEL_MEASURES, OTHER_LABEL
from driftline.streams.masks import all_true
from driftline.streams.partial import (
    COUNT_COLUMNS,
    NO_COUNTS,
    NO_OUTCOMES,
    RECENT_COLUMNS,
    Partial,
)
from driftline.streams.summaries.feature_table import EMPTY, FeatureTable

Ints = NDArray[np.int64]

# Fields of a packed key, from the low bits: b, a, measure, rung, lane, and the number of the
# (series, pane) pair in the 20 bits that are left without the sign.
INDEX_BITS: Final = 16  # of a and of b
MEASURE_BITS: Final = 4
RUNG_BITS: Final = 5  # MAX_RUNGS of the configuration, and the label horizon
LANE_BITS: Final = 2
_A: Final = INDEX_BITS
_MEASURE: Final = _A + INDEX_BITS
_RUNG: Final = _MEASURE + MEASURE_BITS
_LANE: Final = _RUNG + RUNG_BITS
_PAIR: Final = _LANE + LANE_BITS
SEGMENT_BITS: Final = 32  # of a series key: model version above, segment code below (0 is "all")
_SEGMENT: Final = (1 << SEGMENT_BITS) - 1
MAX_PAIRS: Final = 1 << (63 - _PAIR)
MOST_IN_DICTIONARY: Final = 1_000  # labels that a partial carries whether it has them or not
MOST_SUMMARIES: Final = 16_384
"""Most feature summaries of a partial: stage 2 adds them up in one slice of its work."""
MOST_SUMMARY_BYTES: Final = 8 << 20
"""Most bytes of the feature summaries of a partial: half of the largest record."""
_NONE: Final = np.zeros(0, np.int64)
_PLACES_A_KEY: Final = 4


class Rows:
    """Rows of one lane that count under one or several measures.

    All columns have shape (N,), `segments` (N, D). `pane` is the number of the pane since the
    epoch.
    """

    def __init__(self, lane: int, name: Ints, segments: Ints, pane: Ints, rung: Ints) -> None:
        self.lane = lane
        self.name = name
        self.segments = segments
        self.pane = pane
        self.rung = rung
        self.counts: list[_Count] = []

    def count(
        self,
        measure: int,
        a: Ints | int,
        b: Ints | int,
        amount: Ints | None = None,
        where: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add `amount`, shape (N,), by default 1, to (measure, a, b) of every row, or of the rows
        in `where`.
        """
        self.counts.append(_Count(measure, a, b, amount, where))


class _Count(NamedTuple):
    """What rows add to one measure; see `Rows.count`."""

    measure: int
    a: Ints | int
    b: Ints | int
    amount: Ints | None
    where: NDArray[np.bool_] | None


class _Recent(NamedTuple):
    """Outcomes for the last-n windows; see `Increments.add_recent`."""

    name: Ints
    segments: Ints
    time: Ints
    hashes: NDArray[np.uint64]
    actual: Ints
    predicted: Ints
    sign: Ints


class _Sums(NamedTuple):
    """Distinct counts, by series; all columns have shape (N,), `pane` is its start in ms."""

    series: Ints
    pane: Ints
    packed: Ints
    amount: Ints


class Increments:
    """Everything one batch adds to the counts of one partition, in panes of `pane_ms`."""

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._rows: list[Rows] = []
        self._recent: list[_Recent] = []
        self._features = (EMPTY, EMPTY.series)

    def rows(
        self, lane: int, name: Ints, segments: Ints, pane: Ints, rung: Ints | None = None
    ) -> Rows:
        """Open a set of rows to count; without `rung` they all have rung 0."""
        rows = Rows(
            lane, name, segments, pane, np.zeros(len(name), np.int64) if rung is None else rung
        )
        if len(name):
            self._rows.append(rows)
        return rows

    def add_recent(
        self,
        name: Ints,
        segments: Ints,
        time: Ints,
        hashes: NDArray[np.uint64],
        actual: Ints,
        predicted: Ints,
        sign: Ints,
    ) -> None:
        """Add outcomes for the last-n windows, columns of shape (N,), `segments` (N, D)."""
        if len(name):
            self._recent.append(_Recent(name, segments, time, hashes, actual, predicted, sign))

    def add_features(self, summaries: FeatureTable, pane: Ints) -> None:
        """Set the feature summaries of the batch, ordered by target partition, with series keys as
        numbers of series, and the pane number of each, shape (R,).
        """
        self._features = summaries, pane

    def partials(self, partition: int, book: CodeBook) -> list[Partial]:
        """One partial for each target partition that gains something, and further ones where it
        gains more feature summaries than a partial has; the codes of rows are those of `book`.
        """
        # A series is numbered by its model version, versions in the order of their target
        # partitions and models, and by its segment: rows sorted by series are sorted by target.
        labels = self._localized_labels(book.labels.names)
        width = len(book.segments) + 1
        first_series = book.place * width

        def numbered(series_key: Ints) -> Ints:
            first: Ints = first_series[series_key >> SEGMENT_BITS]
            return first + (series_key & _SEGMENT)

        sums = self._summed(first_series, sentinel=len(first_series) * width)
        recent_keys, recent = self._expanded_recent()
        summaries, feature_pane = self._features
        recent_series, feature_series = numbered(recent_keys), numbered(summaries.series)
        distinct = np.sort(
            np.concatenate([sums.series[edges(sums.series)[:-1]], recent_series, feature_series])
        )
        distinct = distinct[edges(distinct)[:-1]]
        targets = ByTargetPartition(distinct, book.target[distinct // width])
        counts = targets.rows(sums.series, _count_columns(sums))
        outcomes = targets.rows(recent_series, recent)
        features = targets.features(summaries, feature_series, feature_pane * self._pane_ms)
        names, segments = book.names_by_target, book.segments.names
        partials = []
        for keys, target_counts, (target_features, target_panes), target_outcomes in zip(
            targets.series(), counts, features, outcomes, strict=True
        ):
            series = [
                (*names[key // width], segments[key % width - 1] if key % width else ALL)
                for key in keys
            ]
            bounds = _bounds(target_features)
            first, *others = target_features.split(bounds) if len(bounds) > 2 else [target_features]
            partials.append(
                Partial(
                    partition=partition,
                    series=series,
                    labels=labels,
                    counts=target_counts,
                    features=first.bounded() if others else first,
                    feature_panes=target_panes[: len(first)],
                    recent=target_outcomes,
                )
            )
            partials += [
                Partial(
                    partition=partition,
                    series=series,
                    labels=[],
                    counts=NO_COUNTS,
                    features=part.bounded(),
                    feature_panes=target_panes[begin:end],
                    recent=NO_OUTCOMES,
                )
                for part, (begin, end) in zip(others, pairwise(bounds[1:]), strict=True)
            ]
        return partials

    def _localized_labels(self, names: Sequence[str]) -> list[str]:
        """The dictionary of the partials: label text by code.

        If there are many labels, it has those of the batch only, and the rows get its codes.
        """
        if len(names) <= MOST_IN_DICTIONARY:
            return list(names)
        is_used = np.zeros(OTHER_LABEL, np.bool_)
        columns = [
            column
            for rows in self._rows
            for count in rows.counts
            if count.measure in LABEL_MEASURES
            for column in ((count.a, count.b) if count.measure == CELLS else (count.a,))
        ]
        columns += [column for each in self._recent for column in (each.actual, each.predicted)]
        for column in columns:
            codes = np.atleast_1d(column)
            is_used[codes[codes < OTHER_LABEL]] = True
        used = np.flatnonzero(is_used)
        local = np.arange(1 << INDEX_BITS)
        local[used] = np.arange(len(used))
        for rows in self._rows:
            rows.counts = [
                count._replace(
                    a=local[count.a], b=local[count.b] if count.measure == CELLS else count.b
                )
                if count.measure in LABEL_MEASURES
                else count
                for count in rows.counts
            ]
        self._recent = [
            each._replace(actual=local[each.actual], predicted=local[each.predicted])
            for each in self._recent
        ]
        return [names[code] for code in used.tolist()]

    def _summed(self, first_series: Ints, sentinel: int) -> _Sums:
        """Sum the rows.

        `first_series` is the number of the series "all" by code of the model version, `sentinel` a
        number above those of all series.
        """
        if not self._rows:
            return _Sums(_NONE, _NONE, _NONE, _NONE)
        first = min(int(rows.pane.min()) for rows in self._rows)
        pane_bits = (max(int(rows.pane.max()) for rows in self._rows) - first).bit_length()
        pairs = [
            _by_segment(first_series[rows.name], rows.segments, sentinel) << pane_bits
            | rows.pane - first
            for rows in self._rows
        ]
        distinct = None
        if max(int(numbers.max()) for numbers in pairs) >= MAX_PAIRS:
            together = np.concatenate([numbers.ravel() for numbers in pairs])
            distinct, number = np.unique(
                np.minimum(together, sentinel << pane_bits), return_inverse=True
            )
            if len(distinct) > MAX_PAIRS:
                raise ValueError(
                    f"join: one batch touches {len(distinct)} pairs of series and pane, at most"
                    f" {MAX_PAIRS}; use smaller batches"
                )
            parts = np.split(number, np.cumsum([numbers.size for numbers in pairs])[:-1])
            pairs = [
                part.reshape(numbers.shape) for part, numbers in zip(parts, pairs, strict=True)
            ]
        ones: list[Ints] = []
        others: list[tuple[Ints, Ints]] = []
        for rows, numbers in zip(self._rows, pairs, strict=True):
            place = _packed_place(numbers, rows.rung, rows.lane)
            for measure, a, b, amount, where in rows.counts:
                at = None if where is None or all_true(where) else where.nonzero()[0]
                cell = _packed_cell(measure, a, b)
                key = _picked(place, at) | (cell if isinstance(cell, int) else _picked(cell, at))
                if amount is None or all_true(amount == 1):
                    ones.append(key.ravel())
                else:
                    amounts = np.empty_like(key)
                    amounts[:] = _picked(amount, at)
                    others.append(
                        add_up(key.ravel(), amounts.ravel(), _places(rows, a, b, numbers, at))
                    )
        key, times = tally(ones, others)
        pair = _pair_of(key) if distinct is None else distinct[_pair_of(key)]
        series = pair >> pane_bits
        kept = slice(np.searchsorted(series, sentinel))
        pane = (pair[kept] & (1 << pane_bits) - 1) + first
        return _Sums(series[kept], pane * self._pane_ms, key[kept], times[kept])

    def _expanded_recent(self) -> tuple[Ints, dict[str, NDArray[np.generic]]]:
        """Series key and the other columns of the outcomes, one row per segment."""
        fields = [name for name, _ in RECENT_COLUMNS if name != "series"]
        none = [np.zeros(0, dtype) for name, dtype in RECENT_COLUMNS if name != "series"]
        if not self._recent:
            return _NONE, dict(zip(fields, none, strict=True))
        keys, parts = [], []
        for name, segments, *columns in self._recent:
            series_key = _by_segment(series_keys(name, np.zeros_like(name)), segments, -1).ravel()
            there = np.flatnonzero(series_key >= 0)
            keys.append(series_key[there])
            parts.append(
                [
                    column[there % len(name)].astype(empty.dtype)
                    for column, empty in zip(columns, none, strict=True)
                ]
            )
        together = (np.concatenate(column) for column in zip(*parts, strict=True))
        return np.concatenate(keys), dict(zip(fields, together, strict=True))


def _bounds(features: FeatureTable) -> list[int]:
    """Where the summaries of a target partition are split into partials, with both ends."""
    rows = len(features)
    # A bin takes 16 bytes at most, a row 22, and a name or text is sent once where it is used.
    longest = 4 * max(map(len, chain(features.names, features.words)), default=0) + 16
    if rows <= MOST_SUMMARIES and (22 + longest) * features.size <= MOST_SUMMARY_BYTES:
        return [0, rows]
    names, words = (
        np.array([len(text.encode("utf-8", "surrogatepass")) + 5 for text in texts], np.int64)
        for texts in (features.names, features.words)
    )
    of_words = np.concatenate((np.zeros(1, np.int64), np.cumsum(words[features.text] + 12)))
    ends = np.cumsum(features.texts)
    sizes = (
        22
        + 16 * features.bins
        + names[features.feature]
        + of_words[ends]
        - of_words[ends - features.texts]
    )
    after = np.cumsum(sizes)
    bounds = [0]
    while bounds[-1] < rows:
        begin = bounds[-1]
        fits = int(
            np.searchsorted(after, after[begin] - sizes[begin] + MOST_SUMMARY_BYTES, "right")
        )
        bounds.append(min(max(fits, begin + 1), begin + MOST_SUMMARIES, rows))
    return bounds


def tally(ones: Sequence[Ints], others: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Distinct keys in ascending order and the exact sum of the amounts of each, without the keys
    whose sum is 0.

    Parameters
    ----------
    ones, others
        Keys with an amount of 1 each, repeated or not, and distinct keys with their amounts.

    Examples
    --------
    >>> others = [
    ...     (np.array([3, 5, 4]), np.array([9, 2, 0])),
    ...     (np.array([5]), np.array([3])),
    ... ]
    >>> keys, sums = tally([np.array([7, 3, 7])], others)
    >>> keys.tolist(), sums.tolist()
    ([3, 5, 7], [10, 5, 2])
    """
    # Most amounts are 1: a plain sort and the lengths of its runs take a third of the time of
    # sorting with amounts.
    ascending = np.sort(np.concatenate([_NONE, *ones, *(keys for keys, _ in others)]))
    bounds = edges(ascending)
    distinct, sums = ascending[bounds[:-1]], bounds[1:] - bounds[:-1]
    for keys, amounts in others:
        sums[np.searchsorted(distinct, keys)] += amounts - 1
    kept = sums != 0
    return (distinct, sums) if all_true(kept) else (distinct[kept], sums[kept])


def add_up(keys: Ints, amounts: Ints, place: Ints | None) -> tuple[Ints, Ints]:
    """Distinct keys in any order, and the exact sum of the amounts of each, below 2**53.

    `place` is a number from 0 for each distinct key, or None. With small numbers nothing is sorted.

    Examples
    --------
    >>> keys, sums = add_up(np.array([70, 30, 70]), np.array([1, 2, 3]), np.array([1, 0, 1]))
    >>> keys.tolist(), sums.tolist()
    ([30, 70], [2, 4])
    """
    places = -1 if place is None else int(place.max(initial=-1)) + 1
    if place is None or places > _PLACES_A_KEY * len(keys):
        distinct, group = np.unique(keys, return_inverse=True)
        return distinct, np.bincount(group, amounts, len(distinct)).astype(np.int64)
    key_at = np.full(places, -1)
    key_at[place] = keys
    filled = np.flatnonzero(key_at >= 0)
    return key_at[filled], np.bincount(place, amounts, places)[filled].astype(np.int64)


def _places(
    rows: Rows, a: Ints | int, b: Ints | int, numbers: Ints, at: Ints | None
) -> Ints | None:
    """A number from 0 for each distinct key of the rows `at`; None if `b` varies.

    `numbers`, shape (D + 1, N), are the pairs of all rows.
    """
    if not isinstance(b, int):
        return None
    slot = numbers * (int(rows.rung.max()) + 1) + rows.rung
    if not isinstance(a, int):
        least = int(a.min())
        slot = slot * (int(a.max()) - least + 1) + (a - least)
    return _picked(slot, at).ravel()


def _picked(values: Ints, at: Ints | None) -> Ints:
    """The values of the rows `at`, along the last axis; None for all rows."""
    return values if at is None else values.take(at, axis=-1)


def series_keys(name: Ints, segment: Ints) -> Ints:
    """Series key of a model version and a segment code (0 is "all")."""
    return (name << SEGMENT_BITS) | segment


def _by_segment(all_series: Ints, segments: Ints, sentinel: int) -> Ints:
    """Series of each row, shape (D + 1, N): `all_series` for the segment "all", then the series of
    each segment value, or `sentinel` without a value.

    Dimensions in which no row has a value are left out.
    """
    values = segments[:, segments.any(axis=0)].T
    return np.concatenate((all_series[None], np.where(values, all_series + values, sentinel)))


def _packed_place(pair: Ints, rung: Ints, lane: int) -> Ints:
    """The upper fields of packed keys."""
    return pair << _PAIR | (rung << _RUNG | lane << _LANE)


def _packed_cell(measure: int, a: Ints | int, b: Ints | int) -> Ints | int:
    """The lower fields of packed keys."""
    return a << _A | b | measure << _MEASURE


def _pair_of(packed: Ints) -> Ints:
    """Number of the (series, pane) pair of each packed key."""
    return packed >> _PAIR


def _field(packed: Ints, shift: int, bits: int) -> Ints:
    """One field of each packed key."""
    return packed >> shift & (1 << bits) - 1


def _count_columns(sums: _Sums) -> dict[str, NDArray[np.generic]]:
    packed = sums.packed
    columns = {
        "lane": _field(packed, _LANE, LANE_BITS),
        "pane": sums.pane,
        "rung": _field(packed, _RUNG, RUNG_BITS),
        "measure": _field(packed, _MEASURE, MEASURE_BITS),
        "a": _field(packed, _A, INDEX_BITS),
        "b": _field(packed, 0, INDEX_BITS),
        "count": sums.amount,
    }
    return {name: columns[name].astype(dtype) for name, dtype in COUNT_COLUMNS if name != "series"}
