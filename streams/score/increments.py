"""Increments of one batch, collected as columns and summed into one partial per model.

Rows name a series by model version and segment code; each row is counted for the segment "all" and for each of its segment values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.lanes import ALL
from streams.partial import COUNT_COLUMNS, RECENT_COLUMNS, FeaturePartial, Partial

Ints = NDArray[np.int64]

# One packed key holds, from the low bits: b 16, a 16, measure 4, rung 4, lane 2, and the number of the (series, pane) pair 21.
_A, _MEASURE, _RUNG, _LANE, _PAIR = 16, 32, 36, 40, 42
_SEGMENT_BITS: Final = 32  # of a series key: model version (16 bits) above, segment code below (0 is "all")
_MODEL: Final = 48  # number of the model above the series key, to have the series of a model together
_NAME: Final = (1 << _MODEL) - 1


class Rows:
    """Rows of one lane that are counted under one or several measures; all columns have shape (N,), `segments` (N, D)."""

    def __init__(self, lane: int, name: Ints, segments: Ints, pane: Ints, rung: Ints) -> None:
        self.lane = lane
        self.name = name
        self.segments = segments
        self.pane = pane
        self.rung = rung
        self.counts: list[tuple[int, Ints | int, Ints | int, Ints | int, NDArray[np.bool_] | None]] = []

    def count(self, measure: int, a: Ints | int, b: Ints | int, amount: Ints | int = 1, where: NDArray[np.bool_] | None = None) -> None:
        """Add `amount` to (measure, a, b) of every row, or of the rows in `where`."""
        self.counts.append((measure, a, b, amount, where))


class Increments:
    """Everything one batch adds to the counts of one partition."""

    def __init__(self) -> None:
        self._rows: list[Rows] = []
        self.recent: list[tuple[Ints, Ints, Ints, NDArray[np.uint64], Ints, Ints, Ints]] = []
        self.features: list[tuple[int, FeaturePartial]] = []  # (series key, summary under series 0)

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

    def partials(self, partition: int, names: Sequence[tuple[str, str]], segments: Sequence[str], labels: Sequence[str]) -> list[Partial]:
        """One partial per model that gained something, by model name; codes are indexes into `names`, `segments` (from 1), `labels`."""
        series_key, pane, packed, amount = self._summed()
        recent_keys, recent = self._expanded_recent()
        feature_keys = np.fromiter((key for key, _ in self.features), np.int64, len(self.features))
        models = sorted({model for model, _ in names})
        number = {model: i for i, model in enumerate(models)}
        model_of_name = np.fromiter((number[model] for model, _ in names), np.int64, len(names))
        keys = np.concatenate([series_key, recent_keys, feature_keys])
        distinct, place = np.unique(model_of_name[keys >> _SEGMENT_BITS] << _MODEL | keys, return_inverse=True)
        first_series = np.searchsorted(distinct >> _MODEL, np.arange(len(models) + 1))
        counts_end, recent_end = len(series_key), len(series_key) + len(recent_keys)
        counts = _by_model(distinct, first_series, place[:counts_end], _count_columns(packed, pane, amount))
        outcomes = _by_model(distinct, first_series, place[counts_end:recent_end], recent)
        features: list[list[FeaturePartial]] = [[] for _ in models]
        for (_, feature), series in zip(self.features, place[recent_end:].tolist(), strict=True):
            model = int(distinct[series] >> _MODEL)
            feature.series = series - int(first_series[model])
            features[model].append(feature)
        low, texts = (1 << _SEGMENT_BITS) - 1, list(labels)
        return [
            Partial(
                partition=partition,
                model_name=models[model],
                series=[
                    (names[(key & _NAME) >> _SEGMENT_BITS][1], segments[(key & low) - 1] if key & low else ALL)
                    for key in distinct[first_series[model] : first_series[model + 1]].tolist()
                ],
                labels=texts,
                counts=counts[model],
                features=features[model],
                recent=outcomes[model],
            )
            for model in range(len(models))
            if first_series[model] < first_series[model + 1]
        ]

    def _summed(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Series key, pane, packed key and amount of every distinct count."""
        if not self._rows:
            none = np.zeros(0, np.int64)
            return none, none, none, none
        panes = np.unique(np.concatenate([rows.pane for rows in self._rows]))
        pairs, expanded = [], []
        for rows in self._rows:
            row, series_key = _by_segment(rows.name, rows.segments)
            pane_number = np.searchsorted(panes, rows.pane)
            expanded.append(row)
            pairs.append(series_key * len(panes) + pane_number[row])
        distinct, number = np.unique(np.concatenate(pairs), return_inverse=True)
        if len(distinct) >= 1 << (63 - _PAIR):
            most = 1 << (63 - _PAIR)
            raise ValueError(f"score: one batch touches {len(distinct)} pairs of series and pane, at most {most}; use smaller batches")
        keys, amounts, start = [], [], 0
        for rows, row in zip(self._rows, expanded, strict=True):
            end = start + len(row)
            slot = (number[start:end] << _PAIR) | (rows.lane << _LANE) | (rows.rung << _RUNG)[row]
            start = end
            for measure, a, b, amount, where in rows.counts:
                cell = np.broadcast_to((np.asarray(a, np.int64) << _A) | b, rows.name.shape)
                added = np.broadcast_to(np.asarray(amount, np.int64), rows.name.shape)
                at: slice | Ints = slice(None) if where is None else np.flatnonzero(where[row])
                keys.append((slot[at] | (measure << _MEASURE)) | cell[row[at]])
                amounts.append(added[row[at]])
        key, amount_of_key = summed(np.concatenate(keys), np.concatenate(amounts))
        pair = distinct[key >> _PAIR]
        return pair // len(panes), panes[pair % len(panes)], key, amount_of_key

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


def summed(keys: Ints, amounts: Ints) -> tuple[Ints, Ints]:
    """Distinct keys in rising order and the exact sum of each one's amounts, without the keys that sum to 0."""
    order = np.argsort(keys)
    in_order = keys[order]
    starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
    totals = np.add.reduceat(amounts[order], starts)
    kept = totals != 0
    return in_order[starts][kept], totals[kept]


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
    distinct: Ints, first_series: Ints, series: Ints, columns: dict[str, NDArray[np.generic]]
) -> list[dict[str, NDArray[np.generic]]]:
    """The rows of each model, their series numbered from 0 within the model; `series` indexes `distinct`."""
    model = distinct[series] >> _MODEL
    order = np.argsort(model, kind="stable")
    bounds = np.searchsorted(model[order], np.arange(len(first_series))).tolist()
    local = (series - first_series[model]).astype(np.uint32)
    ordered = {"series": local[order], **{name: column[order] for name, column in columns.items()}}
    return [{name: column[start:end] for name, column in ordered.items()} for start, end in zip(bounds[:-1], bounds[1:], strict=True)]
