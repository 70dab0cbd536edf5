"""Log-linear bins for non-negative integers: delays in milliseconds, latencies in microseconds.

64 bins per octave, exact below 128, so the relative error of a value read from a bin is at most
1/128. The bins are fixed, so a histogram is a sparse list of (bin, count) that adds up over panes
and partitions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 6
PER_OCTAVE = 1 << BITS
EXACT_BELOW = 2 * PER_OCTAVE
BIN_COUNT = (62 - BITS) * PER_OCTAVE + EXACT_BELOW

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def bin_of(values: Ints) -> Ints:
    """The bin of each value.

    Parameters
    ----------
    values
        Shape (N,), integers; negative ones count as 0.

    Returns
    -------
    Shape (N,), int64 in [0, BIN_COUNT), ascending with the values.

    Examples
    --------
    >>> bin_of(np.array([0, 127, 128, 129, 130, 1_000_000])).tolist()
    [0, 127, 128, 128, 129, 954]
    """
    values = np.maximum(values, 0)
    # Without its second bit a number does not round up to the next power of two as a float.
    exponent = ((values & ~(values >> 1)).astype(np.float64).view(np.int64) >> 52) - 1023
    octave = np.maximum(exponent - BITS, 0)
    bins: Ints = octave * PER_OCTAVE + (values >> octave)
    return bins


def bin_bounds(bins: Ints) -> tuple[Ints, Ints]:
    """Smallest and largest integer of each bin, both included: two arrays of the shape of `bins`.

    Examples
    --------
    >>> [bound.tolist() for bound in bin_bounds(np.array([127, 128, 954]))]
    [[127, 128, 999424], [127, 129, 1007615]]
    """
    bins = np.asarray(bins, dtype=np.int64)
    octave = np.maximum(bins // PER_OCTAVE - 1, 0)
    low = (bins - octave * PER_OCTAVE) << octave
    return low, low + ((np.int64(1) << octave) - 1)


def quantiles(bins: Ints, counts: Ints, q: Floats) -> Floats:
    """Quantiles of histograms on log-linear bins.

    Parameters
    ----------
    bins
        Shape (M,), ascending.
    counts
        Shape (S, M), one histogram per series on the same bins.
    q
        Shape (S,) or a scalar: the quantile of each series, in [0, 1].

    Returns
    -------
    Shape (S,): the middle of the first bin with at least that share of the counts at or below it;
    NaN for an empty histogram.

    Examples
    --------
    >>> quantiles(np.array([5, 7]), np.array([[9, 1], [0, 0]]), np.array(0.95)).tolist()
    [7.0, nan]
    """
    series = len(counts)
    if not len(bins):
        return np.full(series, np.nan)
    cumulative = np.cumsum(counts, axis=1)
    total = cumulative[:, -1]
    ranks = np.clip(np.ceil(np.broadcast_to(q, (series,)) * total), 1, np.maximum(total, 1))
    first = np.minimum((cumulative < ranks[:, np.newaxis]).sum(axis=1), len(bins) - 1)
    low, high = bin_bounds(bins[first])
    return np.where(total > 0, (low + high) / 2, np.nan)
