"""Which panes of one model and lane have counts, in few spans, and when their windows are due.

Kept in memory only: a new process knows the first and the last pane from the model's facts and
takes all panes between them as one span, so it looks for work in some steps that have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from driftline.streams.measure.timing.windows import NEVER_MS, WindowReach

MOST_SPANS: Final = 32


class PaneSpans:
    """Spans of panes, each as the starts of its first and its last pane in ms.

    Parameters
    ----------
    pane_ms
        Length of a pane: panes that follow each other share a span.
    """

    __slots__ = ("_pane_ms", "_spans")

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._spans: list[tuple[int, int]] = []

    def add(self, first_ms: int, last_ms: int) -> None:
        """Add the panes from `first_ms` to `last_ms`, both included.

        Beyond MOST_SPANS the two oldest spans become one, with the panes between them.

        Examples
        --------
        >>> spans = PaneSpans(10)
        >>> for pane_ms in (0, 50, 10):
        ...     spans.add(pane_ms, pane_ms)
        >>> spans.spans
        [(0, 10), (50, 50)]
        """
        kept = []
        for first, last in self._spans:
            if last + self._pane_ms < first_ms or last_ms + self._pane_ms < first:
                kept.append((first, last))
            else:
                first_ms, last_ms = min(first, first_ms), max(last, last_ms)
        kept.append((first_ms, last_ms))
        kept.sort()
        if len(kept) > MOST_SPANS:
            kept[:2] = [(kept[0][0], kept[1][1])]
        self._spans = kept

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The spans, ascending."""
        return self._spans

    def next_due(self, reaches: Iterable[WindowReach], after_ms: int) -> int:
        """The first time after `after_ms` at which a window with one of the panes is due.

        NEVER_MS without one. Spans whose windows were all due are forgotten.

        Examples
        --------
        >>> spans = PaneSpans(10)
        >>> spans.add(30, 40)
        >>> day = WindowReach(step_ms=100, size_ms=100, offset_ms=7)
        >>> spans.next_due([day], 0), spans.next_due([day], 107) == NEVER_MS
        (107, True)
        """
        next_ms = NEVER_MS
        used = []
        for first, last in self._spans:
            is_used = False
            for step_ms, size_ms, offset_ms in reaches:
                begin_ms = max(after_ms - offset_ms, first)
                end_ms = begin_ms - begin_ms % step_ms + step_ms
                if end_ms <= last + size_ms:
                    is_used = True
                    if end_ms + offset_ms < next_ms:
                        next_ms = end_ms + offset_ms
            if is_used:
                used.append((first, last))
        if len(used) < len(self._spans):
            self._spans = used
        return next_ms
