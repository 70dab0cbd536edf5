"""Rows of one batch, split by the partition that their models have after stage 1, as the partials
carry them.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.masks import all_true
from driftline.streams.partial import Columns
from driftline.streams.summaries.feature_table import FeatureTable

Ints = NDArray[np.int64]


def edges(ascending: Ints) -> Ints:
    """Where each run of equal elements begins, and at last where the array ends."""
    border = np.empty(len(ascending) + 1, np.bool_)
    border[0] = border[-1] = True
    np.not_equal(ascending[1:], ascending[:-1], out=border[1:-1])
    return border.nonzero()[0]


class ByTargetPartition:
    """The series of a batch, numbered from 0 within each home that has any.

    Parameters
    ----------
    series
        Shape (S,), distinct numbers of series in ascending order; those of a home follow each
        other.
    home
        Shape (S,), the home of each.
    """

    def __init__(self, series: Ints, home: Ints) -> None:
        self._series = series
        self._edges = edges(home)

    def series(self) -> list[list[int]]:
        """The series of each home."""
        numbers = self._series.tolist()
        return [numbers[start:end] for start, end in pairwise(self._edges.tolist())]

    def rows(self, series: Ints, columns: Columns) -> list[Columns]:
        """Rows of each home; `series`, shape (N,), says whose a row is."""
        if not len(series):
            return [{"series": series.astype(np.uint32), **columns}] * (len(self._edges) - 1)
        # Most rows follow others of their series: what is looked up once a run is spread over it.
        runs = edges(series)
        home, number = self._placed(series[runs[:-1]])
        ordered: Columns = {
            "series": np.repeat(number.astype(np.uint32), runs[1:] - runs[:-1]),
            **columns,
        }
        if all_true(home[1:] >= home[:-1]):
            bounds = runs[np.searchsorted(home, np.arange(len(self._edges)))]
        else:
            home = np.repeat(home, np.diff(runs))
            # The stable sort of 16-bit integers is a radix sort.
            order = np.argsort(home.astype(np.uint16), kind="stable")
            ordered = {name: column[order] for name, column in ordered.items()}
            bounds = np.searchsorted(home[order], np.arange(len(self._edges)))
        return [
            {name: column[start:end] for name, column in ordered.items()}
            for start, end in pairwise(bounds.tolist())
        ]

    def features(
        self, summaries: FeatureTable, series: Ints, pane: Ints
    ) -> list[tuple[FeatureTable, Ints]]:
        """The summaries of each home, which follow each other, and their panes;

        `series` and `pane` have shape (R,).
        """
        if not len(series):
            return [(summaries, pane)] * (len(self._edges) - 1)
        home, number = self._placed(series)
        bounds = np.searchsorted(home, np.arange(len(self._edges))).tolist()
        tables = msgspec.structs.replace(summaries, series=number).split(bounds)
        return [
            (table.bounded(), pane[start:end])
            for table, (start, end) in zip(tables, pairwise(bounds), strict=True)
        ]

    def _placed(self, series: Ints) -> tuple[Ints, Ints]:
        """Place of each row's home among those of the batch, and number of its series within the
        home.
        """
        at = np.searchsorted(self._series, series)
        home = np.searchsorted(self._edges, at, side="right") - 1
        return home, at - self._edges[home]
