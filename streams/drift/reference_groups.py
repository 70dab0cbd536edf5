"""Groups of values that follow from the reference and in which both sides are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard, TypeVar

import numpy as np

from driftline.streams.summaries.numeric_bins import Floats, Ints, NumericSummary, middles
from driftline.streams.summaries.text_summary import StringSummary

Summary = NumericSummary | StringSummary
SummaryKind = TypeVar("SummaryKind", NumericSummary, StringSummary)


@dataclass(frozen=True, slots=True, eq=False)
class NumericGroups:
    """Groups between ascending cuts, shape (B - 1,): group i has the values with
    cuts[i-1] < value <= cuts[i].

    Examples
    --------
    >>> hundred = NumericSummary.of(np.arange(1.0, 101.0))
    >>> NumericGroups.of(hundred, 4).counts(hundred).tolist()
    [25, 25, 25, 25]
    """

    cuts: Floats

    @classmethod
    def of(cls, reference: NumericSummary, groups: int) -> NumericGroups:
        """Groups of about equal shares of the reference. If it has at most `groups` distinct
        values, each has a group, and so has each gap around them, so that new values show.
        """
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

    def counts_of_each(self, summaries: Sequence[NumericSummary]) -> Ints:
        """Shape (T, B): `counts` of each of T summaries, in one pass."""
        size = len(self.cuts) + 1
        counts = np.zeros((len(summaries), size), dtype=np.int64)
        if summaries:
            lengths = [len(summary.keys) for summary in summaries]
            row = np.repeat(np.arange(len(summaries)), lengths)
            shift = np.repeat(np.array([summary.shift for summary in summaries]), lengths)
            middle = middles(np.concatenate([summary.keys for summary in summaries]), shift)
            cells = row * size + np.searchsorted(self.cuts, middle, side="left")
            np.add.at(
                counts.ravel(), cells, np.concatenate([summary.counts for summary in summaries])
            )
        return counts


@dataclass(frozen=True, slots=True)
class TextGroups:
    """One group for each of several texts, and a last one for all others.

    Examples
    --------
    >>> groups = TextGroups.of(StringSummary.of(["a", "a", "b", "c"]), 3)
    >>> groups.names, groups.counts(StringSummary.of(["b", "c", "z"])).tolist()
    (('a', 'b'), [0, 1, 2])
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, reference: StringSummary, groups: int) -> TextGroups:
        """The most frequent texts of the reference (ties by text): `groups` groups including the
        one for all others, which has only new texts if the reference has fewer distinct ones.
        """
        return cls(tuple(text for text, _ in reference.ranked()[: groups - 1]))

    def counts(self, summary: StringSummary) -> Ints:
        """Shape (B,): texts of `summary` in each group."""
        named = [summary.values.get(name, 0) for name in self.names]
        return np.array([*named, summary.total - sum(named)], dtype=np.int64)


def grouped(reference: Summary, current: Summary, groups: int) -> tuple[Ints, Ints]:
    """Counts of both sides in groups of the reference, each of shape (B,), without the groups that
    are empty on both sides.

    Examples
    --------
    >>> p, q = grouped(StringSummary.of(["a", "b"]), StringSummary.of(["b", "c", "c"]), 10)
    >>> p.tolist(), q.tolist()
    ([1, 1, 0], [0, 1, 2])
    """
    if isinstance(reference, NumericSummary) and isinstance(current, NumericSummary):
        # With one shift; otherwise a bin of the coarser side could contain a cut of the finer one.
        shift = max(reference.shift, current.shift)
        reference, current = reference.coarser(shift), current.coarser(shift)
    p, q = counts_by_pane(reference, [reference, current], groups)
    used = p + q > 0
    return p[used], q[used]


def counts_by_pane(reference: Summary, panes: Sequence[Summary], groups: int = 10) -> Ints:
    """Counts of each pane in groups of the reference, shape (T, B), for `effective_size`.

    Raises
    ------
    ValueError
        If a pane has texts and the reference numbers, or vice versa.

    Examples
    --------
    >>> hundred = NumericSummary.of(np.arange(1.0, 101.0))
    >>> counts_by_pane(hundred, [hundred, NumericSummary.of(np.array([7.0]))], 4).tolist()
    [[25, 25, 25, 25], [1, 0, 0, 0]]
    """
    if isinstance(reference, NumericSummary):
        return NumericGroups.of(reference, groups).counts_of_each(
            [pane for pane in panes if _same_kind(pane, NumericSummary)]
        )
    names = TextGroups.of(reference, groups)
    return np.array(
        [names.counts(pane) for pane in panes if _same_kind(pane, StringSummary)], dtype=np.int64
    )


def _same_kind(summary: Summary, kind: type[SummaryKind]) -> TypeGuard[SummaryKind]:
    if not isinstance(summary, kind):
        raise ValueError(
            f"drift: a reference of {kind.__name__} cannot be compared with"
            f" {type(summary).__name__}"
        )
    return True
