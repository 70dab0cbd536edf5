"""Summary of a text feature: counts of its values, sampled by a stable hash if there are too many.

A value is kept if its 64-bit hash starts with at least `level` zero bits, with the smallest level
that leaves at most 1,000 values; the total counts all. Which values are kept depends on the
multiset alone, so summaries merge in any order. A feature with a level above 0 has so many values
that it is an identifier rather than a category: it is reported as one and not tested for drift.

Many summaries are columns that are added up with one sort, `TextColumns`; a single one is a
`StringSummary`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from driftline.streams.masks import any_true

MAX_VALUES = 1000
MAX_LENGTH = 128

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StringSummary:
    """Counts of texts.

    Parameters
    ----------
    level
        Smallest number of leading zero bits in the hash of a kept value; 0 means that every value
        is kept.
    values
        Count by text, at most 1,000. A text of more than 128 characters is replaced by its start
        and its hash.
    total
        Number of texts, kept or not.

    Examples
    --------
    >>> summary = StringSummary.of(["red", "blue", "red"])
    >>> summary.values["red"], summary.total, summary.identifier
    (2, 3, False)
    >>> StringSummary.of([f"user-{i}" for i in range(5000)]).identifier
    True
    """

    level: int
    values: Mapping[str, int]
    total: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringSummary:
        """The summary of `texts`, repeated or not."""
        counts: dict[str, int] = {}
        for text in texts:
            counts[text] = counts.get(text, 0) + 1
        return cls.of_counts(counts)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> StringSummary:
        """The summary of texts that occur `counts[text]` times each; counts of 0 are left out."""
        present = {text: count for text, count in counts.items() if count}
        bounded: dict[str, int] = {}
        for text, name in zip(present, names_of(present), strict=True):
            bounded[name] = bounded.get(name, 0) + present[text]
        zeros, amounts = (
            np.zeros(len(bounded), np.int64),
            np.fromiter(bounded.values(), np.int64, len(bounded)),
        )
        columns = TextColumns.summed(
            zeros, np.arange(len(bounded)), amounts, np.zeros(1, np.int64), list(bounded)
        )
        (summary,) = columns.summaries(list(bounded), [sum(bounded.values())])
        return summary

    @property
    def identifier(self) -> bool:
        """Whether there are too many values to keep all: an identifier, not a category."""
        return self.level > 0

    def ranked(self) -> list[tuple[str, int]]:
        """Kept texts with their counts, most frequent first, ties by text."""
        return sorted(self.values.items(), key=lambda item: (-item[1], item[0]))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "level": self.level,
            "values": dict(sorted(self.values.items())),
            "total": self.total,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, object]) -> StringSummary:
        """Read the result of `to_dict`; raises msgspec.ValidationError, a ValueError, otherwise."""
        return msgspec.convert(plain, cls)


@dataclass(frozen=True, slots=True, eq=False)
class TextColumns:
    """Summaries of G groups as columns. Texts are numbers in a list; the totals are kept elsewhere.

    Parameters
    ----------
    levels
        Shape (G,), int64: the level of each group; 0 for one without texts.
    lengths
        Shape (G,), int64: its number of kept texts, 0 to 1,000.
    texts, counts
        Shape (T,), int64: the kept texts, group by group, and their counts.
    """

    levels: Ints
    lengths: Ints
    texts: Ints
    counts: Ints

    @classmethod
    def summed(
        cls, groups: Ints, texts: Ints, counts: Ints | None, levels: Ints, names: Sequence[str]
    ) -> TextColumns:
        """The sum of several summaries per group; associative and commutative.

        Parameters
        ----------
        groups, texts, counts
            Shape (N,): group in [0, G), text and count, in any order; without `counts` each is 1.
        levels
            Shape (G,): the largest level of the summaries of each group.
        names
            Text by number, as `names_of` returns it.

        Examples
        --------
        >>> groups, texts, ones = np.array([0, 1, 1]), np.array([1, 0, 0]), np.ones(3, np.int64)
        >>> summed = TextColumns.summed(groups, texts, ones, np.zeros(2, np.int64), ["a", "b"])
        >>> [summary.values for summary in summed.summaries(["a", "b"], [1, 2])]
        [{'b': 1}, {'a': 2}]
        """
        group_count, width = len(levels), max(len(names), 1)
        cells = groups * width + texts
        order = np.argsort(cells)
        cells = cells[order]
        fresh = np.ones(len(cells) + 1, np.bool_)
        np.not_equal(cells[1:], cells[:-1], out=fresh[1:-1])
        edges = fresh.nonzero()[0]
        starts = edges[:-1]
        if counts is None:
            counts = edges[1:] - starts
        else:
            counts = np.add.reduceat(counts[order], starts) if len(starts) else counts
        groups, texts = cells[starts] // width, cells[starts] % width
        lengths = np.bincount(groups, minlength=group_count)
        thinned = (lengths > MAX_VALUES) | (levels > 0)
        if any_true(thinned):
            at = np.flatnonzero(thinned[groups])
            bits = np.full(len(texts), 64)
            bits[at] = _zero_bits_of(texts[at], names)
            place = (np.cumsum(thinned) - 1)[groups[at]]
            by_bits = np.bincount(place * 65 + bits[at], minlength=65 * int(thinned.sum())).reshape(
                -1, 65
            )
            # Column l: number of texts with fewer than l zero bits; at most MAX_VALUES may remain.
            below = np.cumsum(by_bits, axis=1) - by_bits
            few = np.argmax(by_bits.sum(axis=1, keepdims=True) - below <= MAX_VALUES, axis=1)
            levels = levels.copy()
            levels[thinned] = np.maximum(levels[thinned], few)
            kept = bits >= levels[groups]
            groups, texts, counts = groups[kept], texts[kept], counts[kept]
            lengths = np.bincount(groups, minlength=group_count)
        return cls(levels, lengths, texts, counts)

    def summaries(self, names: Sequence[str], totals: Sequence[int]) -> list[StringSummary]:
        """One summary per group, from the texts by number and G totals."""
        edges = pairwise([0, *np.cumsum(self.lengths).tolist()])
        texts, counts = [names[text] for text in self.texts.tolist()], self.counts.tolist()
        return [
            StringSummary(level, dict(zip(texts[start:end], counts[start:end], strict=True)), total)
            if total
            else EMPTY
            for level, (start, end), total in zip(self.levels.tolist(), edges, totals, strict=True)
        ]


def names_of(texts: Iterable[str]) -> list[str]:
    """Names under which texts are kept: the text, or the start and hash of a long one, so that the
    state stays small.
    """
    return [
        text
        if len(text) <= MAX_LENGTH
        else f"{text[: MAX_LENGTH - 17]}~{xxhash.xxh64_hexdigest(_octets(text))}"
        for text in texts
    ]


def _zero_bits_of(texts: Ints, names: Sequence[str]) -> Ints:
    """Leading zero bits of the 64-bit xxHash of each text, shape (T,)."""
    distinct, place = np.unique(texts, return_inverse=True)
    digest = xxhash.xxh64_intdigest
    bits: Ints = np.array(
        [64 - digest(_octets(names[text])).bit_length() for text in distinct.tolist()], np.int64
    )[place]
    return bits


def _octets(text: str) -> bytes:
    # JSON allows a lone surrogate, which strict UTF-8 rejects.
    return text.encode("utf-8", "surrogatepass")


EMPTY = StringSummary(0, {}, 0)
