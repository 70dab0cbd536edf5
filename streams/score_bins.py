"""Bins of scores: round decimals, spaced evenly in the middle and by powers of ten towards 0 and 1.

Each edge has a bin of its own, for the scores that are equal to it, and so has each gap between two
edges. So thresholds on edges decide every row, rows in the bin of an edge are ties and nothing
else, and only the gaps have an error of binning. Rare events have all scores close to 0; a gap
there is 1 to 2.5 % of the score wide, down to 1e-7. The measurements are in docs/decisions.

The bins are the same for all models, so histograms add up over panes, partitions and versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCORE_UNITS: Final = 2_000_000_000
"""Stored scores are integers in this many parts of 1: 2 * k is k * 1e-9, an odd one is between."""
SUM_UNITS: Final = 1_000_000
"""Sums of scores, and of their squares, are in this many parts of 1."""

_BILLION: Final = 1_000_000_000
_ROUNDING: Final = 1e-6  # of a billionth: a float of up to nine decimals is off by 1.2e-7
_CELL_BITS: Final = 16


def _edges_below_half() -> list[Fraction]:
    """0, and in each power of ten from 1e-8 on 1.00, 1.02, ... 2.00, 2.05, ... 5.0, 5.1, ... 9.9,
    as far as they are whole billionths; from 0.05 on steps of 0.0005.
    """
    edges = [Fraction(0)]
    for decade in range(-8, -1):
        for first, last, steps in ((1, 2, 50), (2, 5, 60), (5, 10, 50)):
            even = decade == -2 and first == 5
            count = 100 if even else steps
            edges += [
                (first + Fraction((last - first) * step, count)) * Fraction(10) ** decade
                for step in range(count)
            ]
    return edges + [Fraction(step, 2000) for step in range(200, 1000)]


def _billionths() -> Ints:
    billionths = [edge * _BILLION for edge in _edges_below_half()]
    low = [int(edge) for edge in billionths if edge.denominator == 1]
    return np.array([*low, _BILLION // 2, *(_BILLION - edge for edge in reversed(low))], np.int64)


_EDGES: Final = 2 * _billionths()
EDGES: Final[Floats] = _billionths() / _BILLION
"""Shape (E,), ascending from 0 to 1: all edges."""
SCORE_BINS: Final = 2 * len(EDGES) - 1
"""Bin 2 * e has the scores equal to edge e, bin 2 * e + 1 those above it and below the next one."""
MIDDLES: Final[Floats] = np.interp(np.arange(SCORE_BINS), np.arange(0, SCORE_BINS, 2), EDGES)
"""Shape (SCORE_BINS,): the middle of each bin."""
BIN_TEXTS: Final = np.array(
    [f"{edge!r}{above}" for edge in EDGES.tolist() for above in ("", "+")][:-1], object
)
"""Shape (SCORE_BINS,): the bins on topics: "0.31" for an edge, "0.31+" for the gap above it."""

_bin_numbers: Final = {text: number for number, text in enumerate(BIN_TEXTS.tolist())}
# The last edge at or below each cell of 2**16 units, and the cells with several edges.
_FIRST: Final = (
    np.searchsorted(_EDGES, np.arange((SCORE_UNITS >> _CELL_BITS) + 1) << _CELL_BITS, "right") - 1
)
_IS_CROWDED: Final = np.diff(_FIRST, append=len(EDGES) - 1) > 1
_NEXT: Final = np.append(_EDGES[1:], SCORE_UNITS + 1)


def units_of(scores: Floats) -> Ints:
    """Scores in [0, 1], shape (N,), as integers in SCORE_UNITS.

    Examples
    --------
    >>> units_of(np.array([0.0, 1e-12, 0.1 + 0.2, 0.31, 1.0])).tolist()
    [0, 1, 600000000, 620000000, 2000000000]
    """
    scaled = scores * _BILLION
    nearest = np.rint(scaled)
    # Scores next to 0 and 1 are not rounded to them.
    is_between = (np.abs(scaled - nearest) > _ROUNDING) | (
        (nearest == 0) & (scores > 0) | (nearest == _BILLION) & (scores < 1)
    )
    units = 2 * nearest
    units[is_between] = 2 * np.minimum(np.floor(scaled[is_between]), _BILLION - 1) + 1
    return units.astype(np.int64)


def bins_of(units: Ints) -> Ints:
    """The bin of each score in SCORE_UNITS, shape (N,); that of 0 for negative numbers.

    Examples
    --------
    >>> BIN_TEXTS[bins_of(units_of(np.array([0.0, 0.31, 0.3101, 0.9995, 1.0])))].tolist()
    ['0.0', '0.31', '0.31+', '0.9995', '1.0']
    """
    units = np.maximum(units, 0)
    cell = units >> _CELL_BITS
    edge = _FIRST[cell]
    # A cell of the middle has at most one edge. This takes a tenth of the time of a search.
    edge += _NEXT[edge] <= units
    crowded = np.flatnonzero(_IS_CROWDED[cell])
    if len(crowded):
        edge[crowded] = np.searchsorted(_EDGES, units[crowded], "right") - 1
    bins: Ints = 2 * edge + (_EDGES[edge] != units)
    return bins


def sum_units(units: Ints) -> Ints:
    """Scores in SCORE_UNITS, shape (N,), in SUM_UNITS."""
    parts = SCORE_UNITS // SUM_UNITS
    rounded: Ints = (units + parts // 2) // parts
    return rounded


def is_gap(bins: Ints) -> NDArray[np.bool_]:
    """Whether the scores in each bin may differ."""
    gap: NDArray[np.bool_] = bins & 1 == 1
    return gap


def bin_numbers(texts: Iterable[str]) -> list[int]:
    """The bins with these texts: the inverse of `BIN_TEXTS`.

    Raises
    ------
    ValueError
        If there is no such bin.

    Examples
    --------
    >>> BIN_TEXTS[bin_numbers(["0.31", "0.31+"])].tolist()
    ['0.31', '0.31+']
    """
    try:
        return list(map(_bin_numbers.__getitem__, texts))
    except KeyError as error:
        raise ValueError(
            f"histograms: no score bin {error.args[0]!r}; the record is of another release, replay"
            " the log"
        ) from None


def edge_of(threshold: float) -> int:
    """Number of the edge nearest to a threshold, the lower one of two. A threshold between two
    edges decides the rows of up to half a gap differently.

    Examples
    --------
    >>> [float(EDGES[edge_of(threshold)]) for threshold in (0.31, 0.3101, 0.00123)]
    [0.31, 0.31, 0.00122]
    """
    return int(np.argmin(np.abs(EDGES - threshold)))


def edges_between(lowest: float, highest: float) -> tuple[int, int]:
    """Numbers of the first and the last edge from `lowest` to `highest`, both included; the first
    is greater than the last if there is none.

    Examples
    --------
    >>> [float(EDGES[edge]) for edge in edges_between(0.5, 0.9)]
    [0.5, 0.9]
    """
    # An edge is a decimal, and so is a limit: half of the smallest gap is more than any rounding.
    gap = float(np.diff(EDGES).min()) / 2
    first = int(np.searchsorted(EDGES, lowest - gap))
    return first, int(np.searchsorted(EDGES, highest + gap, side="right")) - 1
