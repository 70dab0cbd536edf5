"""Self-scaling bins: what a pane remembers of a numeric feature, without a reference and without configuration.

A float64 becomes its order-preserving 64-bit key; a summary is a shift `s` and a count per `key >> s`, with the smallest `s` that
leaves at most 512 bins. Two summaries merge by shifting to the larger `s`, adding, and shifting on while there are too many bins, so
the result is a function of the multiset of values alone: any order, split and merge tree gives the same bins. A feature with at
most 512 distinct values is kept exactly.

Text is `texts.py`; a feature as a whole (numbers, texts and missing values together) is `features.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_BINS = 512
MAX_SHIFT = 63
FORMAT = 1

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)
_DENSE_SPAN = 1 << 18
_WIDTHS = (1, 2, 4, 8)


def order_key(values: Floats) -> Ints:
    """The 64-bit key of each float, in the order of the floats.

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
    """The float64 of each order key; the inverse of `order_key`.

    Keys beyond the finite floats, which only the outer edge of a wide bin can have, give the largest finite float of that sign.

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
        How many low bits of the order key a bin leaves out, 0 to 63; 0 means that every value is kept exactly.
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
        return _summary(0, np.sort(order_key(values)), None)

    @classmethod
    def of_counts(cls, values: Floats, counts: Ints) -> NumericSummary:
        """The summary of `counts[i]` times `values[i]`: shapes (B,), values finite, counts at least 0. For histograms on fixed bins."""
        present = np.flatnonzero(counts)
        keys = order_key(values[present])
        order = np.argsort(keys, kind="stable")
        return _summary(0, keys[order], np.asarray(counts, dtype=np.int64)[present][order])

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
        """Shape (B,): the float that stands for each bin, the middle of its smallest and largest; exact where shift is 0."""
        return middles(self.keys, self.shift)

    def quantiles(self, q: Floats) -> Floats:
        """The smallest bin middle with at least a share `q` of the values at or below it.

        Shape of `q`, in [0, 1], is kept. NaN for an empty summary. The error is at most half the width of the bin.
        """
        q = np.asarray(q, dtype=np.float64)
        if not len(self.keys):
            return np.full(q.shape, np.nan)
        cumulative = np.cumsum(self.counts)
        ranks = np.clip(np.ceil(q * cumulative[-1]), 1, cumulative[-1])
        found: Floats = self.mid[np.searchsorted(cumulative, ranks)]
        return found

    def counts_at(self, cuts: Floats) -> Ints:
        """Counts of the groups that the ascending `cuts`, shape (C,), make: shape (C + 1,), group i holding cuts[i-1] < value <= cuts[i].

        A bin belongs to one group as a whole, by its middle.
        """
        cumulative = np.concatenate((_ZERO, np.cumsum(self.counts)))
        edges = cumulative[np.searchsorted(self.mid, cuts, side="right")]
        return np.diff(edges, prepend=0, append=cumulative[-1])

    def coarser(self, shift: int) -> NumericSummary:
        """The same values with at least this shift; what `merge` does before it adds."""
        if shift <= self.shift:
            return self
        return _grouped(shift, self.keys >> (shift - self.shift), self.counts)

    def encode(self) -> bytes:
        """MessagePack with a format version; offsets and counts in the narrowest unsigned integers that hold them."""
        first = int(self.keys[0]) if len(self.keys) else 0
        keys, counts = _packed((self.keys - first).view(np.uint64)), _packed(self.counts.view(np.uint64))
        return _ENCODER.encode(_Wire(FORMAT, self.shift, first, len(self.keys), keys, counts))

    @classmethod
    def decode(cls, data: bytes) -> NumericSummary:
        """The inverse of `encode`. ValueError for an unknown format version."""
        wire = _DECODER.decode(data)
        if wire.format != FORMAT:
            raise ValueError(f"numeric summary: format {wire.format}, this release reads format {FORMAT}; rebuild it from the log")
        return cls(wire.shift, _unpacked(wire.keys, wire.bins) + wire.first, _unpacked(wire.counts, wire.bins))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON: shift, the smallest float of each bin, counts. No precision is lost."""
        return {"shift": self.shift, "low": self.low.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, plain: dict[str, object]) -> NumericSummary:
        """The inverse of `to_dict`. msgspec.ValidationError, a ValueError, for other shapes."""
        read = msgspec.convert(plain, _Plain)
        return cls(read.shift, order_key(np.array(read.low, dtype=np.float64)) >> read.shift, np.array(read.counts, dtype=np.int64))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NumericSummary):
            return NotImplemented
        return self.shift == other.shift and np.array_equal(self.keys, other.keys) and np.array_equal(self.counts, other.counts)


def middles(keys: Ints, shift: int | Ints) -> Floats:
    """The float that stands for each bin: the middle of the smallest and the largest in it.

    `keys`, shape (B,), are bin numbers at `shift`, one number or of the same shape.

    Examples
    --------
    >>> middles(order_key(np.array([2.0, 8.0])), np.array([0, 0])).tolist()
    [2.0, 8.0]
    """
    low = keys << shift
    return value_of_key(low) / 2 + value_of_key(low | ((1 << shift) - 1)) / 2


def merge(summaries: Sequence[NumericSummary]) -> NumericSummary:
    """The summary of all values of all `summaries`; the empty summary where there are none.

    Associative and commutative, with the empty summary as identity.

    Examples
    --------
    >>> merge([NumericSummary.of(np.array([1.0, 2.0])), NumericSummary.of(np.array([2.0]))]).counts.tolist()
    [1, 2]
    """
    filled = [summary for summary in summaries if len(summary.keys)]
    if not filled:
        return EMPTY
    if len(filled) == 1:
        return filled[0]
    shift = max(summary.shift for summary in filled)
    keys = np.concatenate([s.keys if s.shift == shift else s.keys >> (shift - s.shift) for s in filled])
    counts = np.concatenate([s.counts for s in filled])
    if len(keys) > 4 * MAX_BINS and (span := int(keys.max()) - (lowest := int(keys.min()))) < _DENSE_SPAN:
        # Many summaries on a narrow range: adding into a dense array takes a third of the time of sorting.
        dense = np.zeros(span + 1, dtype=np.int64)
        np.add.at(dense, keys - lowest, counts)
        present = np.flatnonzero(dense != 0)
        return _summary(shift, present + lowest, dense[present])
    order = np.argsort(keys, kind="stable")
    return _summary(shift, keys[order], counts[order])


def summaries_by_group(values: Floats, groups: Ints, group_count: int) -> list[NumericSummary]:
    """One summary per group, with one sort for all of them and no loop over rows.

    Parameters
    ----------
    values
        Shape (N,), float64. NaN means "missing" and is left out; count it beside the summary.
    groups
        Shape (N,), integers in [0, group_count).
    group_count
        G, the number of summaries to return.

    Returns
    -------
    G summaries; the empty one for a group without values.

    Examples
    --------
    >>> first, second = summaries_by_group(np.array([1.0, 5.0, 1.0]), np.array([0, 1, 0]), 2)
    >>> first.counts.tolist(), second.mid.tolist()
    ([2], [5.0])
    """
    missing = np.isnan(values)
    if missing.any():
        values, groups = values[~missing], groups[~missing]
    if not len(values):
        return [EMPTY] * group_count
    keys = order_key(values)
    by_key = np.argsort(keys)
    # A stable sort of 16-bit integers is a radix sort; the keys within a group stay ascending.
    codes = groups[by_key].astype(np.uint16 if group_count <= 1 << 16 else np.int64)
    by_group = np.argsort(codes, kind="stable")
    keys, codes = keys[by_key[by_group]], codes[by_group].astype(np.int64)

    same = codes[1:] == codes[:-1]
    lengths = _bit_lengths(keys[1:] ^ keys[:-1])
    table = np.bincount(codes[1:][same] * 65 + lengths[same], minlength=65 * group_count).reshape(group_count, 65)
    shifts = _shift_for(table)
    keys >>= shifts[codes]
    starts = np.flatnonzero(np.concatenate((_TRUE, ~same | (keys[1:] != keys[:-1]))))
    counts = np.diff(starts, append=len(keys))
    keys, ends = keys[starts], np.searchsorted(codes[starts], np.arange(group_count + 1)).tolist()
    return [
        NumericSummary(shift, keys[begin:end], counts[begin:end]) if end > begin else EMPTY
        for shift, begin, end in zip(shifts.tolist(), ends[:-1], ends[1:], strict=True)
    ]


def aligned(reference: NumericSummary, current: NumericSummary) -> tuple[Floats, Ints, Ints]:
    """Both summaries on one list of bins.

    Returns
    -------
    The middles of the bins, ascending, and the counts of `reference` and `current` in them; three arrays of shape (B,).

    Examples
    --------
    >>> middles, p, q = aligned(NumericSummary.of(np.array([1.0, 2.0])), NumericSummary.of(np.array([2.0, 3.0])))
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


def _summary(shift: int, keys: Ints, counts: Ints | None) -> NumericSummary:
    """From ascending keys at `shift`, repeated or not; counts default to 1 a key. Shifts on until at most 512 bins are left."""
    if len(keys) > MAX_BINS:
        further = 64
        apart = 0
        # The neighbours that differ in more than `further` bits stay apart: take bits off the top while few enough do.
        for neighbours in np.bincount(_bit_lengths(keys[1:] ^ keys[:-1]), minlength=65).tolist()[::-1]:
            apart += neighbours
            if apart >= MAX_BINS:
                break
            further -= 1
        if further:
            shift, keys = shift + further, keys >> further
    return _grouped(shift, keys, counts)


def _grouped(shift: int, keys: Ints, counts: Ints | None) -> NumericSummary:
    """Adds up the counts of equal neighbours in ascending `keys`."""
    fresh = np.empty(len(keys), dtype=np.bool_)
    fresh[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    if counts is None:
        return NumericSummary(shift, keys[starts], np.diff(starts, append=len(keys)))
    return NumericSummary(shift, keys[starts], np.add.reduceat(counts, starts) if len(starts) else counts)


def _shift_for(table: Ints) -> Ints:
    """The smallest shift that leaves at most 512 bins, shape (G,), from counts of neighbour distances, shape (G, 65).

    `table[g, l]` counts the neighbours in group g whose keys differ in `l` bits from the top one down: exactly those with l > s
    stay in different bins at shift s.
    """
    apart = table.sum(axis=1, keepdims=True) - np.cumsum(table, axis=1)
    smallest: Ints = np.argmax(apart < MAX_BINS, axis=1).astype(np.int64)
    return smallest


def _bit_lengths(differences: Ints) -> Ints:
    """The bit length of each difference, read as unsigned, shape (N,), 0 to 64."""
    unsigned = differences.view(np.uint64)
    # Without its second bit a number cannot round up to the next power of two when it becomes a float.
    exponent = (unsigned & ~(unsigned >> np.uint64(1))).astype(np.float64).view(np.int64) >> 52
    lengths: Ints = np.maximum(exponent - 1022, 0)
    return lengths


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    format: int
    shift: int
    first: int
    bins: int
    keys: bytes
    counts: bytes


class _Plain(msgspec.Struct, frozen=True):
    shift: int
    low: list[float]
    counts: list[int]


def _packed(numbers: NDArray[np.uint64]) -> bytes:
    """Little-endian unsigned integers of the narrowest of 1, 2, 4 and 8 bytes that holds the largest."""
    largest = int(numbers.max()) if len(numbers) else 0
    width = next(width for width in _WIDTHS if largest < 1 << (8 * width))
    return numbers.astype(f"<u{width}").tobytes()


def _unpacked(data: bytes, count: int) -> Ints:
    return np.frombuffer(data, dtype=f"<u{len(data) // count if count else 1}").astype(np.int64)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Wire)
_ZERO = np.zeros(1, dtype=np.int64)
_TRUE = np.ones(1, dtype=np.bool_)
_LOWEST, _HIGHEST = order_key(np.array([-np.finfo(np.float64).max, np.finfo(np.float64).max])).tolist()
EMPTY = NumericSummary(0, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
