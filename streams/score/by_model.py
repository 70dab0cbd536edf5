"""Rows of one batch, split by model, as the partials of stage 1 carry them."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.feature_table import FeatureTable
from streams.partial import Columns

Ints = NDArray[np.int64]


def edges(ascending: Ints) -> Ints:
    """Where each run of equal elements begins, and at last where the array ends."""
    border = np.empty(len(ascending) + 1, np.bool_)
    border[0] = border[-1] = True
    np.not_equal(ascending[1:], ascending[:-1], out=border[1:-1])
    return border.nonzero()[0]


class ByModel:
    """The series of a batch, numbered from 0 within each model that has any.

    Parameters
    ----------
    series
        Shape (S,), distinct numbers of series in ascending order; those of a model follow each other.
    model
        Shape (S,), the model of each.
    """

    def __init__(self, series: Ints, model: Ints) -> None:
        self._series = series
        self._edges = edges(model)

    def series(self) -> list[list[int]]:
        """The series of each model."""
        numbers = self._series.tolist()
        return [numbers[start:end] for start, end in pairwise(self._edges.tolist())]

    def rows(self, series: Ints, columns: Columns) -> list[Columns]:
        """Rows of each model; `series`, shape (N,), says whose a row is."""
        if not len(series):
            return [{"series": series.astype(np.uint32), **columns}] * (len(self._edges) - 1)
        # Most rows follow others of their series: what is looked up once a run is spread over it.
        runs = edges(series)
        model, number = self._placed(series[runs[:-1]])
        ordered: Columns = {"series": np.repeat(number.astype(np.uint32), runs[1:] - runs[:-1]), **columns}
        if (model[1:] >= model[:-1]).all():
            bounds = runs[np.searchsorted(model, np.arange(len(self._edges)))]
        else:
            model = np.repeat(model, np.diff(runs))
            # The stable sort of 16-bit integers is a radix sort.
            order = np.argsort(model.astype(np.uint16), kind="stable")
            ordered = {name: column[order] for name, column in ordered.items()}
            bounds = np.searchsorted(model[order], np.arange(len(self._edges)))
        return [{name: column[start:end] for name, column in ordered.items()} for start, end in pairwise(bounds.tolist())]

    def features(self, summaries: FeatureTable, series: Ints, pane: Ints) -> list[tuple[FeatureTable, Ints]]:
        """The summaries of each model, which follow each other, and their panes; `series` and `pane` have shape (R,)."""
        if not len(series):
            return [(summaries, pane)] * (len(self._edges) - 1)
        model, number = self._placed(series)
        bounds = np.searchsorted(model, np.arange(len(self._edges))).tolist()
        tables = msgspec.structs.replace(summaries, series=number).split(bounds)
        return [(table.bounded(), pane[start:end]) for table, (start, end) in zip(tables, pairwise(bounds), strict=True)]

    def _placed(self, series: Ints) -> tuple[Ints, Ints]:
        """Place of each row's model among those of the batch, and number of its series within the model."""
        at = np.searchsorted(self._series, series)
        model = np.searchsorted(self._edges, at, side="right") - 1
        return model, at - self._edges[model]
