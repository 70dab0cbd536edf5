"""Few groups of values, made from the reference, that both sides are counted in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.bins import Floats, Ints, NumericSummary
from streams.texts import StringSummary


@dataclass(frozen=True, slots=True, eq=False)
class NumericGroups:
    """Groups between ascending cuts, shape (B - 1,): group i holds cuts[i-1] < value <= cuts[i].

    Examples
    --------
    >>> hundred = NumericSummary.of(np.arange(1.0, 101.0))
    >>> NumericGroups.of(hundred, 4).counts(hundred).tolist()
    [25, 25, 25, 25]
    """

    cuts: Floats

    @classmethod
    def of(cls, reference: NumericSummary, groups: int) -> NumericGroups:
        """Groups of about equal shares of the reference; a reference of at most `groups` distinct values gets a group for each of
        them and one for each gap around them, so that new values show."""
        low, high = reference.low, reference.high
        if len(low) <= groups:
            below = np.nextafter(low, -np.inf)
            return cls(np.unique(np.concatenate((below, high))))
        cumulative = np.cumsum(reference.counts)
        ranks = np.arange(1, groups) * cumulative[-1] / groups
        ends = np.unique(np.searchsorted(cumulative, ranks))
        return cls(high[ends[ends < len(high) - 1]])

    def counts(self, summary: NumericSummary) -> Ints:
        """Shape (B,): values of `summary` in each group."""
        return summary.counts_at(self.cuts)


@dataclass(frozen=True, slots=True)
class TextGroups:
    """One group for each of some texts, and a last one for all others.

    Examples
    --------
    >>> groups = TextGroups.of(StringSummary.of(["a", "a", "b", "c"]), 3)
    >>> groups.names, groups.counts(StringSummary.of(["b", "c", "z"])).tolist()
    (('a', 'b'), [0, 1, 2])
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, reference: StringSummary, groups: int) -> TextGroups:
        """The most frequent texts of the reference (ties by text), `groups` groups with the one for all others; that one holds only
        new texts if the reference has fewer."""
        return cls(tuple(text for text, _ in reference.ranked()[: groups - 1]))

    def counts(self, summary: StringSummary) -> Ints:
        """Shape (B,): texts of `summary` in each group."""
        named = [summary.values.get(name, 0) for name in self.names]
        return np.array([*named, summary.total - sum(named)], dtype=np.int64)


def occupied(*counts: Ints) -> list[NDArray[np.int64]]:
    """The same rows of counts, each of shape (B,), without the groups that are empty in all of them."""
    used = np.sum(counts, axis=0) > 0
    return [row[used] for row in counts]
