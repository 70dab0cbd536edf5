"""Rows of one batch, split by target partition (the partition of `window-partials` of their
model), as partials carry them.
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
    """Index at which each run of equal elements begins, and the length of the array."""
    border = np.empty(len(ascending) + 1, np.bool_)
    border[0] = border[-1] = True
    np.not_equal(ascending[1:], ascending[:-1], out=border[1:-1])
    return border.nonzero()[0]


class ByTargetPartition:
    """The series of a batch, numbered from 0 within each target partition that has any.

    Parameters
    ----------
    series
        Shape (S,), distinct numbers of series in ascending order; those of a target partition
        follow each other.
    target
        Shape (S,), the target partition of each.
    """

    def __init__(self, series: Ints, target: Ints) -> None:
        self._series = series
        self._edges = edges(target)

    def series(self) -> list[list[int]]:
        """The series of each target partition."""
        numbers = self._series.tolist()
        return [numbers[start:end] for start, end in pairwise(self._edges.tolist())]

    def rows(self, series: Ints, columns: Columns) -> list[Columns]:
        """Rows of each target partition; `series`, shape (N,), is the series of each row."""
        if not len(series):
            return [{"series": series.astype(np.uint32), **columns}] * (len(self._edges) - 1)
        # Most rows follow others of their series: one look-up per run.
        runs = edges(series)
        target, number = self._placed(series[runs[:-1]])
        ordered: Columns = {
            "series": np.repeat(number.astype(np.uint32), runs[1:] - runs[:-1]),
            **columns,
        }
        if all_true(target[1:] >= target[:-1]):
            bounds = runs[np.searchsorted(target, np.arange(len(self._edges)))]
        else:
            target = np.repeat(target, np.diff(runs))
            # The stable sort of 16-bit integers is a radix sort.
            order = np.argsort(target.astype(np.uint16), kind="stable")
            ordered = {name: column[order] for name, column in ordered.items()}
            bounds = np.searchsorted(target[order], np.arange(len(self._edges)))
        return [
            {name: column[start:end] for name, column in ordered.items()}
            for start, end in pairwise(bounds.tolist())
        ]

    def features(
        self, summaries: FeatureTable, series: Ints, pane: Ints
    ) -> list[tuple[FeatureTable, Ints]]:
        """Summaries of each target partition, which follow each other, and their panes.

        `series` and `pane` have shape (R,).
        """
        if not len(series):
            return [(summaries, pane)] * (len(self._edges) - 1)
        target, number = self._placed(series)
        bounds = np.searchsorted(target, np.arange(len(self._edges))).tolist()
        tables = msgspec.structs.replace(summaries, series=number).split(bounds)
        return [
            (table.bounded(), pane[start:end])
            for table, (start, end) in zip(tables, pairwise(bounds), strict=True)
        ]

    def _placed(self, series: Ints) -> tuple[Ints, Ints]:
        """Place of each row's target partition among those of the batch, and number of its series
        within it.
        """
        at = np.searchsorted(self._series, series)
        target = np.searchsorted(self._edges, at, side="right") - 1
        return target, at - self._edges[target]
