"""Increments of one batch, collected as columns and summed into one partial per model.

Rows name a series by model version and segment code; each row is counted for the segment "all" and for each of its segment values.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from streams.feature_table import EMPTY, FeatureTable
from streams.lanes import ALL
from streams.partial import COUNT_COLUMNS, RECENT_COLUMNS, Partial

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

    def partials(self, partition: int, names: Sequence[tuple[str, str]], segments: Sequence[str], labels: Sequence[str]) -> list[Partial]:
        """One partial per model that gained something, by model name; codes are indexes into `names`, `segments` (from 1), `labels`."""
        width = len(segments) + 1
        series, pane, packed, amount = self._summed(len(names), width)
        recent_keys, recent = self._expanded_recent()
        recent_series = _dense(recent_keys, width)
        summaries, feature_pane = self._features
        feature_series = _dense(summaries.series, width)
        models = sorted({model for model, _ in names})
        number = {model: i for i, model in enumerate(models)}
        model_of_name = np.fromiter((number[model] for model, _ in names), np.int64, len(names))
        # Counts come in ascending order of their series, so the distinct ones need no sort.
        distinct, _ = runs(np.sort(np.concatenate([runs(series)[0], recent_series, feature_series])))
        by_model = np.argsort(model_of_name[distinct // width], kind="stable")
        place = np.empty_like(by_model)
        place[by_model] = np.arange(len(by_model))
        distinct_by_model = distinct[by_model]
        model_of_series = model_of_name[distinct_by_model // width]
        first_series = np.searchsorted(model_of_series, np.arange(len(models) + 1))

        def placed(some: Ints) -> Ints:
            return place[np.searchsorted(distinct, some)]

        counts = _by_model(model_of_series, first_series, placed(series), _count_columns(packed, pane, amount))
        outcomes = _by_model(model_of_series, first_series, placed(recent_series), recent)
        features = _features_by_model(model_of_series, first_series, placed(feature_series), summaries, feature_pane * self._pane_ms)
        texts = list(labels)
        return [
            Partial(
                partition=partition,
                model_name=models[model],
                series=[
                    (names[key // width][1], segments[key % width - 1] if key % width else ALL)
                    for key in distinct_by_model[first_series[model] : first_series[model + 1]].tolist()
                ],
                labels=texts,
                counts=counts[model],
                features=features[model][0],
                feature_panes=features[model][1],
                recent=outcomes[model],
            )
            for model in range(len(models))
            if first_series[model] < first_series[model + 1]
        ]

    def _summed(self, names: int, width: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Series, pane, packed key and amount of every distinct count, by series.

        A series is numbered model version * `width` + segment; there are `names` model versions and `width` segments with "all".
        """
        if not self._rows:
            none = np.zeros(0, np.int64)
            return none, none, none, none
        first = min(int(rows.pane.min()) for rows in self._rows)
        panes = max(int(rows.pane.max()) for rows in self._rows) - first + 1
        pairs, expanded = [], []
        for rows in self._rows:
            row, series_key = _by_segment(rows.name, rows.segments)
            expanded.append(row)
            pairs.append(_dense(series_key, width) * panes + (rows.pane - first)[row])
        number, distinct = np.concatenate(pairs), None
        if names * width * panes >= _MAX_PAIRS:
            distinct, number = np.unique(number, return_inverse=True)
            if len(distinct) >= _MAX_PAIRS:
                touched = f"one batch touches {len(distinct)} pairs of series and pane, at most {_MAX_PAIRS}"
                raise ValueError(f"score: {touched}; use smaller batches")
        ones, others, start = [], [(np.zeros(0, np.int64), np.zeros(0, np.int64))], 0
        for rows, row in zip(self._rows, expanded, strict=True):
            end = start + len(row)
            slot = (number[start:end] << _PAIR) | (rows.lane << _LANE) | (rows.rung << _RUNG)[row]
            start = end
            for measure, a, b, amount, where in rows.counts:
                at: slice | Ints = slice(None) if where is None or where.all() else np.flatnonzero(where[row])
                cell = (np.asarray(a, np.int64) << _A) | b | (measure << _MEASURE)
                key = slot[at] | (cell[row[at]] if cell.ndim else cell)
                if amount is None or (amount == 1).all():
                    ones.append(key)
                else:
                    others.append((key, amount[row[at]]))
        # Most counts are ones: a plain sort and the lengths of its runs take a third of what sorting with amounts takes.
        key, times = runs(np.sort(np.concatenate(ones)) if ones else np.zeros(0, np.int64))
        other, added = summed(np.concatenate([k for k, _ in others]), np.concatenate([a for _, a in others]))
        if len(other):
            key, times = summed(np.concatenate([key, other]), np.concatenate([times, added]), kind="stable")
        pair = key >> _PAIR if distinct is None else distinct[key >> _PAIR]
        return pair // panes, (pair % panes + first) * self._pane_ms, key, times

    def _expanded_recent(self) -> tuple[Ints, dict[str, NDArray[np.generic]]]:
        """Series key and the other columns of the outcomes, a row for each segment."""
        fields = [name for name, _ in RECENT_COLUMNS if name != "series"]
        keys, parts = [np.zeros(0, np.int64)], [[np.zeros(0, dtype) for name, dtype in RECENT_COLUMNS if name != "series"]]
        for name, segments, *columns in self.recent:
            row, series_key = _by_segment(name, segments)
            keys.append(series_key)
            parts.append([column[row].astype(none.dtype) for column, none in zip(columns, parts[0], strict=True)])
        together = (np.concatenate(column) for column in zip(*parts, strict=True))
        return np.concatenate(keys), dict(zip(fields, together, strict=True))


def runs(ascending: Ints) -> tuple[Ints, Ints]:
    """Distinct keys of an ascending array, and how often each stands in it."""
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(ascending), 1), np.bool_), ascending[1:] != ascending[:-1]]))
    return ascending[starts], np.diff(starts, append=len(ascending))


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


def _dense(series_key: Ints, width: int) -> Ints:
    return (series_key >> _SEGMENT_BITS) * width + (series_key & _SEGMENT)


def series_keys(name: Ints, segment: Ints) -> Ints:
    """Series key of a model version and a segment code (0 is "all")."""
    return (name << _SEGMENT_BITS) | segment


def _by_segment(name: Ints, segments: Ints) -> tuple[Ints, Ints]:
    """Row index and series key for "all" and for each segment value that a row has."""
    every = np.arange(len(name))
    rows, keys = [every], [series_keys(name, np.zeros_like(name))]
    for dimension in range(segments.shape[1]):
        has = np.flatnonzero(segments[:, dimension])
        rows.append(has)
        keys.append(series_keys(name[has], segments[has, dimension]))
    return np.concatenate(rows), np.concatenate(keys)


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


def _by_model(
    model_of_series: Ints, first_series: Ints, series: Ints, columns: dict[str, NDArray[np.generic]]
) -> list[dict[str, NDArray[np.generic]]]:
    """The rows of each model, their series numbered from 0 within the model."""
    if not len(series):
        return [{"series": series.astype(np.uint32), **columns}] * (len(first_series) - 1)
    # The stable sort of 16-bit integers is a radix sort.
    model = model_of_series[series].astype(np.uint16)
    order = np.argsort(model, kind="stable")
    bounds = np.searchsorted(model[order], np.arange(len(first_series))).tolist()
    local = (series - first_series[model]).astype(np.uint32)
    ordered = {"series": local[order], **{name: column[order] for name, column in columns.items()}}
    return [{name: column[start:end] for name, column in ordered.items()} for start, end in pairwise(bounds)]


def _features_by_model(
    model_of_series: Ints, first_series: Ints, series: Ints, summaries: FeatureTable, pane: Ints
) -> list[tuple[FeatureTable, Ints]]:
    """The summaries of each model, their series numbered from 0 within the model, and their panes."""
    if not len(series):
        return [(summaries, pane)] * (len(first_series) - 1)
    model = model_of_series[series]
    order = np.argsort(model, kind="stable")
    bounds = np.searchsorted(model[order], np.arange(len(first_series))).tolist()
    ordered = summaries.take(order)
    ordered.series = (series - first_series[model])[order]
    return list(zip([part.trimmed() for part in ordered.split(bounds)], np.split(pane[order], bounds[1:-1]), strict=True))
