"""The packed key of a count: pane in its bucket, rung, series, measure, a and b in one integer.

The pane and the rung stand at the top, so the rows of a pane, and the rows known at a rung, are
neighbours in a sorted table. All functions take and return arrays of shape (N,), or single
integers where they say so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# Bits of a key, from the low end: 60 in all.
B_BITS: Final = 13
A_BITS: Final = 12
MEASURE_BITS: Final = 4
SERIES_BITS: Final = 18
RUNG_BITS: Final = 7
PANE_BITS: Final = 6

_A_SHIFT: Final = B_BITS
_MEASURE_SHIFT: Final = _A_SHIFT + A_BITS
_SERIES_SHIFT: Final = _MEASURE_SHIFT + MEASURE_BITS
_RUNG_SHIFT: Final = _SERIES_SHIFT + SERIES_BITS
_PANE_SHIFT: Final = _RUNG_SHIFT + RUNG_BITS

CODES: Final = 1 << A_BITS
"""Number of values of `a`; `b` has twice as many."""
MEASURES: Final = 1 << MEASURE_BITS
MAX_SERIES: Final = 1 << SERIES_BITS
PANES_IN_BUCKET: Final = 1 << PANE_BITS


class MeasureParts(NamedTuple):
    """The measure of each key and its two indexes."""

    measure: Ints
    a: Ints
    b: Ints


def pack_keys(*, rung: Ints, series: Ints, measure: Ints, a: Ints, b: Ints) -> Ints:
    """Keys without a pane.

    Examples
    --------
    >>> one = np.array([1])
    >>> keys = pack_keys(rung=one * 3, series=one * 70, measure=one, a=one * 5, b=one * 6)
    >>> rungs_of(keys).tolist(), series_of(keys).tolist()
    ([3], [70])
    >>> [part.tolist() for part in unpack_measure(keys)]
    [[1], [5], [6]]
    """
    # In place, without an array for each term.
    keys = rung << _RUNG_SHIFT
    keys |= series << _SERIES_SHIFT
    keys |= measure << _MEASURE_SHIFT
    keys |= a << _A_SHIFT
    keys |= b
    return keys


def pack_labels(actual: Ints, predicted: Ints) -> Ints:
    """`a` and `b` of a cell of the confusion matrix in one integer."""
    return actual << _A_SHIFT | predicted


def series_keys(series: Ints, measure: int, indexes: Ints) -> Ints:
    """Keys without pane and rung of one measure, with `a` and `b` already packed."""
    return series << _SERIES_SHIFT | measure << _MEASURE_SHIFT | indexes


def counter_key(series: int, measure: int, b: int) -> int:
    """The single key without pane and rung of a counter of a series."""
    return series << _SERIES_SHIFT | measure << _MEASURE_SHIFT | b


def unpack_measure(keys: Ints) -> MeasureParts:
    """The measure and both indexes of each key."""
    return MeasureParts(measures_of(keys), a_of(keys), b_of(keys))


def measures_of(keys: Ints) -> Ints:
    """The measure of each key."""
    return keys >> _MEASURE_SHIFT & MEASURES - 1


def a_of(keys: Ints) -> Ints:
    """The first index of each key."""
    return keys >> _A_SHIFT & CODES - 1


def b_of(keys: Ints) -> Ints:
    """The second index of each key."""
    return keys & (1 << B_BITS) - 1


def series_of(keys: Ints) -> Ints:
    """The series number of each key."""
    return keys >> _SERIES_SHIFT & MAX_SERIES - 1


def rungs_of(keys: Ints) -> Ints:
    """The rung of each key without a pane."""
    return keys >> _RUNG_SHIFT


def panes_of(keys: Ints) -> Ints:
    """The pane in its bucket of each key."""
    return keys >> _PANE_SHIFT


def within_series(keys: Ints) -> Ints:
    """Each key without pane, rung and series: the measure and its indexes."""
    return keys & (1 << _SERIES_SHIFT) - 1


def is_measure_of_series(keys: Ints, series: int, measure: int) -> NDArray[np.bool_]:
    """Whether each key without pane is of one measure of one series, at rung 0."""
    same: NDArray[np.bool_] = keys >> _MEASURE_SHIFT == series << MEASURE_BITS | measure
    return same


def without_pane(keys: Ints) -> Ints:
    """Each key without its pane."""
    return keys & (1 << _PANE_SHIFT) - 1


def without_rung(keys: Ints) -> Ints:
    """Each key without pane and rung."""
    return keys & (1 << _RUNG_SHIFT) - 1


def with_pane(keys: Ints, pane: Ints) -> Ints:
    """Keys without a pane, put into a pane of their bucket."""
    return keys | pane << _PANE_SHIFT


def first_key_of_pane(pane: int) -> int:
    """The smallest key of a pane in its bucket, an integer."""
    return pane << _PANE_SHIFT


def first_key_of_rung(rung: int) -> int:
    """The smallest key without pane of a rung, an integer."""
    return rung << _RUNG_SHIFT
