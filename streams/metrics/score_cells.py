"""Score histograms of many series, as the filled bins only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from driftline.streams.intervals import Floats, Ints, divided
from driftline.streams.score_bins import MIDDLES, SCORE_BINS, bins_of, is_gap, units_of

Number = TypeVar("Number", NDArray[np.int64], NDArray[np.float64])


@dataclass(frozen=True)
class ScoreCells:
    """The filled bins of the score histograms of all series (`driftline.streams.score_bins`): most
    windows fill few of them.

    Figures that several metrics need are computed once.

    Parameters
    ----------
    series_count
        S.
    series, bins
        Shape (C,), ascending: series and bin of each cell.
    negatives, positives
        Shape (C,): rows of each actual label in the cell.
    """

    series_count: int
    series: Ints
    bins: Ints
    negatives: Ints
    positives: Ints

    @classmethod
    def of(
        cls, series_count: int, series: Ints, bins: Ints, is_positive: NDArray[np.bool_], rows: Ints
    ) -> ScoreCells:
        """Cells from counts in any order, columns of shape (N,); a cell may have several.

        Examples
        --------
        >>> one = np.array([1, 1, 0, 1])
        >>> cells = ScoreCells.of(2, one, np.array([8, 3, 5, 8]), one == 0, one)
        >>> cells.series.tolist(), cells.bins.tolist(), cells.negatives.tolist()
        ([1, 1], [3, 8], [1, 2])
        """
        place = series * SCORE_BINS + bins
        order = np.argsort(place)
        place, positives, rows = place[order], is_positive[order] * rows[order], rows[order]
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        if not len(starts):
            return cls.empty(series_count)
        positives, rows = np.add.reduceat(positives, starts), np.add.reduceat(rows, starts)
        negatives = rows - positives
        filled = np.flatnonzero((negatives | positives) != 0)
        cell_series, cell_bins = np.divmod(place[starts[filled]], SCORE_BINS)
        return cls(series_count, cell_series, cell_bins, negatives[filled], positives[filled])

    @classmethod
    def of_scores(cls, scores: Floats, is_positive: NDArray[np.bool_]) -> ScoreCells:
        """The cells of a single series from its rows, shape (N,) each."""
        rows = np.ones(len(scores), np.int64)
        return cls.of(1, 0 * rows, bins_of(units_of(scores)), is_positive, rows)

    @classmethod
    def empty(cls, series_count: int) -> ScoreCells:
        """No cells."""
        return cls(series_count, *(np.zeros(0, dtype=np.int64) for _ in range(4)))

    @classmethod
    def joined(cls, parts: Sequence[tuple[ScoreCells, int]]) -> ScoreCells:
        """One series of each of several: a series for each pair of cells and series number."""
        slices = [cells._slice(number) for cells, number in parts]
        lengths = [at.stop - at.start for at in slices]
        columns = (
            np.concatenate(
                [getattr(cells, name)[at] for (cells, _), at in zip(parts, slices, strict=True)]
            )
            for name in ("bins", "negatives", "positives")
        )
        return cls(len(parts), np.repeat(np.arange(len(parts)), lengths), *columns)

    def _slice(self, number: int) -> slice:
        first, last = np.searchsorted(self.series, (number, number + 1)).tolist()
        return slice(first, last)

    def has_cells(self, number: int) -> bool:
        """Whether a series has any."""
        at = self._slice(number)
        return bool(at.stop > at.start)

    @cached_property
    def middle(self) -> Floats:
        """Shape (C,): the score at the middle of the bin."""
        return MIDDLES[self.bins]

    @cached_property
    def tied_pairs(self) -> Floats:
        """Shape (S,): share of the pairs of a negative and a positive whose scores lie in one bin
        and may differ; NaN without pairs.
        """
        pairs = np.where(is_gap(self.bins), self.negatives * self.positives, 0)
        return divided(self.sums(pairs), self.n_negative * self.n_positive)

    @cached_property
    def n_negative(self) -> Ints:
        """Shape (S,): actual negatives of each series."""
        return self.sums(self.negatives)

    @cached_property
    def n_positive(self) -> Ints:
        """Shape (S,): actual positives of each series."""
        return self.sums(self.positives)

    @cached_property
    def negatives_beaten(self) -> Ints:
        """Shape (C,): twice the number of negatives of the same series below each cell, plus those
        in it: a tie counts as half a pair.
        """
        return self._beaten(self.negatives)

    @cached_property
    def positives_beaten(self) -> Ints:
        """Shape (C,): as `negatives_beaten`, for positives."""
        return self._beaten(self.positives)

    def sums(self, values: Number) -> Number:
        """Sums over the cells of each series: shape (C,) to shape (S,), 0 for a series without
        cells.
        """
        totals = np.zeros(self.series_count, dtype=values.dtype)
        if len(self._starts):
            totals[self.series[self._starts]] = np.add.reduceat(values, self._starts)
        return totals

    @cached_property
    def _starts(self) -> Ints:
        """Index of the first cell of each series that has one."""
        return np.flatnonzero(np.diff(self.series, prepend=-1))

    def _beaten(self, rows: Ints) -> Ints:
        upto = np.cumsum(rows)
        lengths = np.diff(self._starts, append=len(rows))
        before = np.repeat(upto[self._starts] - rows[self._starts], lengths)
        beaten: Ints = 2 * (upto - before) - rows
        return beaten
