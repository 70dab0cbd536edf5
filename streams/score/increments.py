"""Increments of one batch, collected as columns and summed into one partial per model.

Rows name a series by model version and segment code; each row is counted for the segment "all" and for each of its segment values.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from streams.feature_table import EMPTY, FeatureTable
from streams.lanes import ALL
from streams.partial import COUNT_COLUMNS, RECENT_COLUMNS, Partial
from streams.score.arrivals import Texts
from streams.score.by_model import ByModel, edges

Ints = NDArray[np.int64]

# One packed key holds, from the low bits: b 16, a 16, measure 4, rung 4, lane 2, and the number of the (series, pane) pair 21.
_A, _MEASURE, _RUNG, _LANE, _PAIR = 16, 32, 36, 40, 42
_SEGMENT_BITS: Final = 32  # of a series key: model version above, segment code below (0 is "all")
_SEGMENT: Final = (1 << _SEGMENT_BITS) - 1
_MAX_PAIRS: Final = 1 << (63 - _PAIR)
_FIRST = np.ones(1, np.bool_)


class Rows:
    """Rows of one lane that are counted under one or several measures; all columns have shape (N,), `segments` (N, D).

    `pane` is the number of the pane since the epoch.
    """

    def __init__(self, lane: int, name: Ints, segments: Ints, pane: Ints, rung: Ints) -> None:
        self.lane = lane
        self.name = name
        self.segments = segments
        self.pane = pane
        self.rung = rung
        self.counts: list[tuple[int, Ints | int, Ints | int, Ints | None, NDArray[np.bool_] | None]] = []

    def count(
        self, measure: int, a: Ints | int, b: Ints | int, amount: Ints | None = None, where: NDArray[np.bool_] | None = None
    ) -> None:
        """Add `amount`, shape (N,), by default 1, to (measure, a, b) of every row, or of the rows in `where`."""
        self.counts.append((measure, a, b, amount, where))


class Increments:
    """Everything one batch adds to the counts of one partition, in panes of `pane_ms`."""

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._rows: list[Rows] = []
        self.recent: list[tuple[Ints, Ints, Ints, NDArray[np.uint64], Ints, Ints, Ints]] = []
        self._features = (EMPTY, EMPTY.series)

    def rows(self, lane: int, name: Ints, segments: Ints, pane: Ints, rung: Ints | None = None) -> Rows:
        """Open a set of rows to count; `rung` is 0 where the lane has no ladder."""
        rows = Rows(lane, name, segments, pane, np.zeros(len(name), np.int64) if rung is None else rung)
        if len(name):
            self._rows.append(rows)
        return rows

    def add_recent(
        self, name: Ints, segments: Ints, time: Ints, hashes: NDArray[np.uint64], actual: Ints, predicted: Ints, sign: Ints
    ) -> None:
        """Outcomes for the last-n windows, columns of shape (N,), `segments` (N, D)."""
        if len(name):
            self.recent.append((name, segments, time, hashes, actual, predicted, sign))

    def add_features(self, summaries: FeatureTable, pane: Ints) -> None:
        """The feature summaries of the batch, with series keys as numbers of the series, and the number of the pane of each, shape (R,)."""
        self._features = summaries, pane

    def partials(self, partition: int, texts: Texts) -> list[Partial]:
        """One partial per model that gained something, by model name; the codes of rows are those of `texts`."""
        # A series is numbered by its model version, versions in the order of their models, and by its segment: what is sorted by series
        # is sorted by model.
        width = len(texts.segments) + 1
        first_series = texts.place * width

        def numbered(series_key: Ints) -> Ints:
            first: Ints = first_series[series_key >> _SEGMENT_BITS]
            return first + (series_key & _SEGMENT)

        series, pane, packed, amount = self._summed(first_series)
        recent_keys, recent = self._expanded_recent()
        summaries, feature_pane = self._features
        recent_series, feature_series = numbered(recent_keys), numbered(summaries.series)
        distinct = series[edges(series)[:-1]]
        if len(recent_series) or len(feature_series):
            distinct = np.unique(np.concatenate([distinct, recent_series, feature_series]))
        by_model = ByModel(distinct, texts.model[distinct // width])
        counts = by_model.rows(series, _count_columns(packed, pane, amount))
        outcomes = by_model.rows(recent_series, recent)
        features = by_model.features(summaries, feature_series, feature_pane * self._pane_ms)
        names, segments, labels = texts.names_by_model, texts.segments.texts, list(texts.labels.texts)
        return [
            Partial(
                partition=partition,
                model_name=names[its[0] // width][0],
                series=[(names[key // width][1], segments[key % width - 1] if key % width else ALL) for key in its],
                labels=labels,
                counts=its_counts,
                features=its_features,
                feature_panes=its_panes,
                recent=its_outcomes,
            )
            for its, its_counts, (its_features, its_panes), its_outcomes in zip(
                by_model.series(), counts, features, outcomes, strict=True
            )
        ]

    def _summed(self, first_series: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Series, start of the pane in ms, packed key and amount of every distinct count, by series.

        `first_series` is the number of the series "all" by code of the model version.
        """
        if not self._rows:
            none = np.zeros(0, np.int64)
            return none, none, none, none
        first = min(int(rows.pane.min()) for rows in self._rows)
        panes = max(int(rows.pane.max()) for rows in self._rows) - first + 1
        expanded = [_by_segment(first_series[rows.name], rows.segments) for rows in self._rows]
        pairs = [series * panes + (rows.pane[row] - first) for (row, series), rows in zip(expanded, self._rows, strict=True)]
        distinct = None
        if max(int(numbers.max()) for numbers in pairs) >= _MAX_PAIRS:
            distinct, number = np.unique(np.concatenate(pairs), return_inverse=True)
            if len(distinct) >= _MAX_PAIRS:
                touched = f"one batch touches {len(distinct)} pairs of series and pane, at most {_MAX_PAIRS}"
                raise ValueError(f"score: {touched}; use smaller batches")
            pairs = np.split(number, np.cumsum([len(numbers) for numbers in pairs])[:-1])
        ones: list[Ints] = []
        others: list[tuple[Ints, Ints]] = []
        for rows, (row, _), numbers in zip(self._rows, expanded, pairs, strict=True):
            slot = (numbers << _PAIR) | ((rows.rung << _RUNG) | (rows.lane << _LANE))[row]
            for measure, a, b, amount, where in rows.counts:
                at: slice | Ints = slice(None) if where is None or where.all() else np.flatnonzero(where[row])
                cell = a << _A | b | measure << _MEASURE
                key = slot[at] | (cell if isinstance(cell, int) else cell[row[at]])
                if amount is None or (amount == 1).all():
                    ones.append(key)
                else:
                    others.append((key, amount[row[at]]))
        # Most counts are ones: a plain sort and the lengths of its runs take a third of what sorting with amounts takes.
        key, times = runs(np.sort(np.concatenate(ones)) if ones else np.zeros(0, np.int64))
        if others:
            other, added = summed(np.concatenate([k for k, _ in others]), np.concatenate([a for _, a in others]))
            key, times = summed(np.concatenate([key, other]), np.concatenate([times, added]), kind="stable")
        pair = key >> _PAIR if distinct is None else distinct[key >> _PAIR]
        return pair // panes, (pair % panes + first) * self._pane_ms, key, times

    def _expanded_recent(self) -> tuple[Ints, dict[str, NDArray[np.generic]]]:
        """Series key and the other columns of the outcomes, a row for each segment."""
        fields = [name for name, _ in RECENT_COLUMNS if name != "series"]
        keys, parts = [np.zeros(0, np.int64)], [[np.zeros(0, dtype) for name, dtype in RECENT_COLUMNS if name != "series"]]
        for name, segments, *columns in self.recent:
            row, series_key = _by_segment(series_keys(name, np.zeros_like(name)), segments)
            keys.append(series_key)
            parts.append([column[row].astype(none.dtype) for column, none in zip(columns, parts[0], strict=True)])
        together = (np.concatenate(column) for column in zip(*parts, strict=True))
        return np.concatenate(keys), dict(zip(fields, together, strict=True))


def runs(ascending: Ints) -> tuple[Ints, Ints]:
    """Distinct keys of an ascending array, and how often each stands in it."""
    bounds = edges(ascending)
    return ascending[bounds[:-1]], np.diff(bounds)


def summed(keys: Ints, amounts: Ints, kind: Literal["stable"] | None = None) -> tuple[Ints, Ints]:
    """Distinct keys in rising order and the exact sum of each one's amounts, without the keys that sum to 0.

    `kind` is the sort's: "stable" is fast on keys that are a few ascending runs.
    """
    if not len(keys):
        return keys, amounts
    order = np.argsort(keys, kind=kind)
    in_order = keys[order]
    starts = np.flatnonzero(np.concatenate([_FIRST, in_order[1:] != in_order[:-1]]))
    totals = np.add.reduceat(amounts[order], starts)
    kept = totals != 0
    return in_order[starts][kept], totals[kept]


def series_keys(name: Ints, segment: Ints) -> Ints:
    """Series key of a model version and a segment code (0 is "all")."""
    return (name << _SEGMENT_BITS) | segment


def _by_segment(all_series: Ints, segments: Ints) -> tuple[Ints, Ints]:
    """Row index and series for "all" and for each segment value that a row has; `all_series` is the number of the row's "all"."""
    rows, series = [np.arange(len(all_series))], [all_series]
    for dimension in range(segments.shape[1]):
        has = np.flatnonzero(segments[:, dimension])
        rows.append(has)
        series.append(all_series[has] + segments[has, dimension])
    return np.concatenate(rows), np.concatenate(series)


def _count_columns(packed: Ints, pane: Ints, amount: Ints) -> dict[str, NDArray[np.generic]]:
    columns = {
        "lane": packed >> _LANE & 3,
        "pane": pane,
        "rung": packed >> _RUNG & 15,
        "measure": packed >> _MEASURE & 15,
        "a": packed >> _A & 0xFFFF,
        "b": packed & 0xFFFF,
        "count": amount,
    }
    return {name: columns[name].astype(dtype) for name, dtype in COUNT_COLUMNS if name != "series"}
