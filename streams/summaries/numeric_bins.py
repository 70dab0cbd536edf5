"""Self-scaling bins: the summary of a numeric feature, without a reference and without
configuration.

A float64 becomes its order-preserving 64-bit key; a summary is a shift `s` and a count per `key >>
s`, with the smallest `s` that leaves at most 512 bins. Two summaries merge by shifting to the
larger `s`, adding, and shifting further while there are too many bins. So the result depends on the
multiset of values alone: any order, split and merge tree gives the same bins. A feature with at
most 512 distinct values is kept exactly.

Many summaries are columns that are added up with one sort, `BinColumns`; a single one is a
`NumericSummary`. Texts are `text_summary.py`; a whole feature (numbers, texts and missing values)
is `feature_summary.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.masks import any_true

MAX_BINS = 512

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)


def order_key(values: Floats) -> Ints:
    """64-bit key of each float, in the order of the floats.

    Parameters
    ----------
    values
        Shape (N,), float64, not NaN.

    Returns
    -------
    Shape (N,), int64. `a < b` exactly if `key(a) < key(b)`; -0.0 counts as 0.0, whose key is 0.

    Examples
    --------
    >>> order_key(np.array([-1.5, -0.0, 0.0, 2.0])).tolist()
    [-4609434218613702657, 0, 0, 4611686018427387904]
    """
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.int64)
    keys: Ints = bits ^ ((bits >> 63) & _MAGNITUDE)
    return keys


def value_of_key(keys: Ints) -> Floats:
    """The float64 of each order key, the inverse of `order_key`.

    A key beyond the finite floats, as the outer edge of a wide bin may have, gives the largest
    finite float of that sign.

    Examples
    --------
    >>> value_of_key(order_key(np.array([-1.5, 0.0, 2.0]))).tolist()
    [-1.5, 0.0, 2.0]
    """
    inside = np.clip(keys, _LOWEST, _HIGHEST)
    bits: Ints = inside ^ ((inside >> 63) & _MAGNITUDE)
    return bits.view(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class NumericSummary:
    """Counts of numbers in self-scaling bins.

    Parameters
    ----------
    shift
        Number of low bits of the order key that a bin leaves out, 0 to 63; 0 means that every value
        is kept exactly.
    keys
        Shape (B,), int64, ascending, distinct: `order_key(value) >> shift`. At most 512.
    counts
        Shape (B,), int64, each at least 1.

    Examples
    --------
    >>> summary = NumericSummary.of(np.array([3.0, 1.0, 3.0]))
    >>> summary.total, summary.mid.tolist(), summary.counts.tolist()
    (3, [1.0, 3.0], [1, 2])
    >>> summary.quantiles(np.array([0.0, 0.5, 1.0])).tolist()
    [1.0, 3.0, 3.0]
    """

    shift: int
    keys: Ints
    counts: Ints

    @classmethod
    def of(cls, values: Floats) -> NumericSummary:
        """The summary of `values`, shape (N,), finite float64; N may be 0."""
        return _summary(order_key(values), None)

    @classmethod
    def of_counts(cls, values: Floats, counts: Ints) -> NumericSummary:
        """The summary of `values[i]`, `counts[i]` times each: shapes (B,), values finite, counts at
        least 0. For histograms on fixed bins.
        """
        present = np.flatnonzero(counts)
        return _summary(order_key(values[present]), np.asarray(counts, dtype=np.int64)[present])

    @property
    def total(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    @property
    def low(self) -> Floats:
        """Shape (B,): the smallest float of each bin."""
        return value_of_key(self.keys << self.shift)

    @property
    def high(self) -> Floats:
        """Shape (B,): the largest float of each bin (included)."""
        return value_of_key((self.keys << self.shift) | ((1 << self.shift) - 1))

    @property
    def mid(self) -> Floats:
        """Shape (B,): the middle of the smallest and largest float of each bin; exact where shift
        is 0.
        """
        return middles(self.keys, self.shift)

    def quantiles(self, q: Floats) -> Floats:
        """The smallest bin middle with at least a share `q` of the values at or below it.

        The result has the shape of `q`, which is in [0, 1]; NaN for an empty summary. The error is
        at most half the width of the bin.
        """
        q = np.asarray(q, dtype=np.float64)
        if not len(self.keys):
            return np.full(q.shape, np.nan)
        cumulative = np.cumsum(self.counts)
        ranks = np.clip(np.ceil(q * cumulative[-1]), 1, cumulative[-1])
        middle: Floats = self.mid[np.searchsorted(cumulative, ranks)]
        return middle

    def counts_at(self, cuts: Floats) -> Ints:
        """Counts between the ascending `cuts`, shape (C,): shape (C + 1,), group i has the values
        with cuts[i-1] < value <= cuts[i].

        A whole bin belongs to the group of its middle.
        """
        cumulative = np.concatenate((_ZERO, np.cumsum(self.counts)))
        edges = cumulative[np.searchsorted(self.mid, cuts, side="right")]
        return np.diff(edges, prepend=0, append=cumulative[-1])

    def coarser(self, shift: int) -> NumericSummary:
        """The same values with at least this shift."""
        if shift <= self.shift:
            return self
        _, keys, counts = _runs(
            np.zeros(len(self.keys), dtype=np.uint8), self.keys >> (shift - self.shift), self.counts
        )
        return NumericSummary(shift, keys, counts)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON: shift, the smallest float of each bin, counts.

        No precision is lost.
        """
        return {"shift": self.shift, "low": self.low.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, plain: dict[str, object]) -> NumericSummary:
        """Read the result of `to_dict`; raises msgspec.ValidationError, a ValueError, otherwise."""
        read = msgspec.convert(plain, _PlainNumbers)
        return cls(
            read.shift,
            order_key(np.array(read.low, dtype=np.float64)) >> read.shift,
            np.array(read.counts, dtype=np.int64),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NumericSummary):
            return NotImplemented
        return (
            self.shift == other.shift
            and np.array_equal(self.keys, other.keys)
            and np.array_equal(self.counts, other.counts)
        )


def middles(keys: Ints, shift: int | Ints) -> Floats:
    """Middle of the smallest and the largest float of each bin.

    `keys`, shape (B,), are bin numbers at `shift`, a number or an array of the same shape.

    Examples
    --------
    >>> middles(order_key(np.array([2.0, 8.0])), np.array([0, 0])).tolist()
    [2.0, 8.0]
    """
    low = keys << shift
    return value_of_key(low) / 2 + value_of_key(low | ((1 << shift) - 1)) / 2


@dataclass(frozen=True, slots=True, eq=False)
class BinColumns:
    """Summaries of G groups as columns.

    Parameters
    ----------
    shifts
        Shape (G,), int64: the shift of each group; 0 for one without values.
    lengths
        Shape (G,), int64: its number of bins, 0 to 512.
    keys, counts
        Shape (B,), int64: the bins, group by group, as in `NumericSummary`.
    """

    shifts: Ints
    lengths: Ints
    keys: Ints
    counts: Ints

    @classmethod
    def of(cls, values: Floats, groups: Ints, group_count: int) -> BinColumns:
        """Summaries of values by group.

        Parameters
        ----------
        values
            Shape (N,), float64. NaN means "missing" and is left out.
        groups
            Shape (N,), integers in [0, group_count).
        group_count
            G.

        Examples
        --------
        >>> columns = BinColumns.of(np.array([1.0, 5.0, 1.0]), np.array([0, 1, 0]), 2)
        >>> first, second = columns.summaries()
        >>> first.counts.tolist(), second.mid.tolist()
        ([2], [5.0])
        """
        missing = np.isnan(values)
        if any_true(missing):
            values, groups = values[~missing], groups[~missing]
        return _by_group(groups, order_key(values), None, np.zeros(group_count, dtype=np.int64))

    @classmethod
    def summed(cls, groups: Ints, keys: Ints, counts: Ints, shifts: Ints) -> BinColumns:
        """The sum of several summaries per group; associative and commutative.

        Parameters
        ----------
        groups, keys, counts
            Shape (N,): bins in any order, with their group, in [0, G), and at its shift.
        shifts
            Shape (G,): the largest shift of the summaries of each group.

        Examples
        --------
        >>> groups, keys = np.array([1, 0, 1]), order_key(np.array([2.0, 1.0, 2.0]))
        >>> ones, shifts = np.ones(3, dtype=np.int64), np.zeros(2, dtype=np.int64)
        >>> summed = BinColumns.summed(groups, keys, ones, shifts)
        >>> [summary.counts.tolist() for summary in summed.summaries()]
        [[1], [2]]
        """
        return _by_group(groups, keys, counts, shifts)

    def summaries(self) -> list[NumericSummary]:
        """One summary per group."""
        edges = pairwise([0, *np.cumsum(self.lengths).tolist()])
        return [
            NumericSummary(shift, self.keys[start:end], self.counts[start:end])
            if end > start
            else EMPTY
            for shift, (start, end) in zip(self.shifts.tolist(), edges, strict=True)
        ]


def aligned(reference: NumericSummary, current: NumericSummary) -> tuple[Floats, Ints, Ints]:
    """Both summaries on common bins.

    Returns
    -------
    Middles of the bins, ascending, and the counts of `reference` and `current`: three arrays of
    shape (B,).

    Examples
    --------
    >>> reference = NumericSummary.of(np.array([1.0, 2.0]))
    >>> middles, p, q = aligned(reference, NumericSummary.of(np.array([2.0, 3.0])))
    >>> middles.tolist(), p.tolist(), q.tolist()
    ([1.0, 2.0, 3.0], [1, 1, 0], [0, 1, 1])
    """
    shift = max(reference.shift, current.shift)
    reference, current = reference.coarser(shift), current.coarser(shift)
    keys = np.union1d(reference.keys, current.keys)
    p, q = np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=np.int64)
    p[np.searchsorted(keys, reference.keys)] = reference.counts
    q[np.searchsorted(keys, current.keys)] = current.counts
    return NumericSummary(shift, keys, p).mid, p, q


def _summary(keys: Ints, counts: Ints | None) -> NumericSummary:
    (summary,) = _by_group(
        np.zeros(len(keys), dtype=np.int64), keys, counts, np.zeros(1, dtype=np.int64)
    ).summaries()
    return summary


def _by_group(groups: Ints, keys: Ints, counts: Ints | None, shifts: Ints) -> BinColumns:
    """Columns of keys in any order, repeated or not, at the shift of their group; without `counts`
    each key counts 1.
    """
    group_count = len(shifts)
    order = np.argsort(keys)
    # A stable sort of 16-bit integers is a radix sort; the keys within a group stay ascending.
    group = groups[order].astype(np.uint16 if group_count <= 1 << 16 else np.int64)
    by_group = np.argsort(group, kind="stable")
    order, group = order[by_group], group[by_group]
    group, keys, counts = _runs(group, keys[order], None if counts is None else counts[order])
    lengths = np.bincount(group, minlength=group_count)
    too_long = lengths > MAX_BINS
    if any_true(too_long):
        more = _more_bits(group, keys, too_long)
        group, keys, counts = _runs(group, keys >> more[group], counts)
        shifts, lengths = shifts + more, np.bincount(group, minlength=group_count)
    return BinColumns(shifts, lengths, keys, counts)


def _runs(group: NDArray[Any], keys: Ints, counts: Ints | None) -> tuple[NDArray[Any], Ints, Ints]:
    """Add up the counts of equal neighbours, in keys that ascend within their group; without
    `counts` each key counts 1.
    """
    fresh = np.ones(len(keys) + 1, dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:-1])
    fresh[1:-1] |= group[1:] != group[:-1]
    edges = fresh.nonzero()[0]
    starts = edges[:-1]
    if counts is None:
        return group[starts], keys[starts], edges[1:] - starts
    return group[starts], keys[starts], np.add.reduceat(counts, starts) if len(starts) else counts


def _more_bits(group: NDArray[Any], keys: Ints, too_long: NDArray[np.bool_]) -> Ints:
    """Number of further bits to leave out, shape (G,): the fewest that leave 512 bins in each group
    that is `too_long`, 0 for the others.

    Neighbours whose keys have a difference of l bits are in different bins as long as at most l - 1
    bits are left out.
    """
    inside = too_long[group]
    group, keys = group[inside], keys[inside]
    same = group[1:] == group[:-1]
    place = (np.cumsum(too_long) - 1)[group[1:][same]]
    lengths = _bit_lengths(keys[1:] ^ keys[:-1])[same]
    distances = np.bincount(place * 65 + lengths, minlength=65 * int(too_long.sum())).reshape(
        -1, 65
    )
    apart = distances.sum(axis=1, keepdims=True) - np.cumsum(distances, axis=1)
    more = np.zeros(len(too_long), dtype=np.int64)
    more[too_long] = np.argmax(apart < MAX_BINS, axis=1)
    return more


def _bit_lengths(differences: Ints) -> Ints:
    """Bit length of each difference as an unsigned integer, shape (N,), 0 to 64."""
    unsigned = differences.view(np.uint64)
    # Without its second bit a number does not round up to the next power of two as a float.
    exponent = (unsigned & ~(unsigned >> np.uint64(1))).astype(np.float64).view(np.int64) >> 52
    lengths: Ints = np.maximum(exponent - 1022, 0)
    return lengths


class _PlainNumbers(msgspec.Struct, frozen=True):
    shift: int
    low: list[float]
    counts: list[int]


_ZERO = np.zeros(1, dtype=np.int64)
_LOWEST, _HIGHEST = order_key(
    np.array([-np.finfo(np.float64).max, np.finfo(np.float64).max])
).tolist()
EMPTY = NumericSummary(0, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
