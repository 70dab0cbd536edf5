"""Which panes of one model and lane have counts, in few spans, and when their windows are due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from driftline.streams.measure.timing.windows import NEVER_MS, WindowReach

MOST_SPANS: Final = 32


class PaneSpans:
    """Spans of panes, each as the starts of its first and its last pane in ms.

    Parameters
    ----------
    pane_ms
        Length of a pane: panes that follow each other share a span.
    spans
        Spans of an earlier object.
    """

    __slots__ = ("_pane_ms", "_spans")

    def __init__(self, pane_ms: int, spans: Sequence[tuple[int, int]] = ()) -> None:
        self._pane_ms = pane_ms
        self._spans = list(spans)

    def add(self, first_ms: int, last_ms: int) -> None:
        """Add the panes from `first_ms` to `last_ms`, both included.

        Beyond MOST_SPANS the two that are closest to each other become one, with the panes between
        them.

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
            gaps = [later[0] - earlier[1] for earlier, later in pairwise(kept)]
            at = gaps.index(min(gaps))
            kept[at : at + 2] = [(kept[at][0], kept[at + 1][1])]
        self._spans = kept

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The spans, ascending."""
        return self._spans

    def between(self, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """The parts of the spans from `start_ms` (included) to `end_ms` (excluded), edges of panes.

        Examples
        --------
        >>> PaneSpans(10, [(0, 10), (50, 80)]).between(10, 60)
        [(10, 10), (50, 50)]
        """
        return [
            (max(first, start_ms), min(last, end_ms - self._pane_ms))
            for first, last in self._spans
            if first < end_ms and start_ms <= last
        ]

    def grains(self, start_ms: int, end_ms: int, grain_ms: int) -> Iterator[int]:
        """Starts of the grains with panes, from `start_ms` (included) to `end_ms` (excluded).

        Examples
        --------
        >>> list(PaneSpans(10, [(0, 10), (50, 80), (100, 100)]).grains(40, 120, 40))
        [40, 80]
        """
        at_ms = start_ms
        for first, last in self.between(start_ms, end_ms):
            begin_ms = max(at_ms, first // grain_ms * grain_ms)
            yield from range(begin_ms, last + 1, grain_ms)
            at_ms = max(at_ms, (last // grain_ms + 1) * grain_ms)

    def forget_before(self, end_ms: int) -> None:
        """Forget the panes before an edge of a pane.

        Examples
        --------
        >>> spans = PaneSpans(10, [(0, 10), (50, 80)])
        >>> spans.forget_before(60)
        >>> spans.spans
        [(60, 80)]
        """
        self._spans = self.between(end_ms, NEVER_MS)

    def next_due(self, reaches: Iterable[WindowReach], after_ms: int) -> int:
        """The first time after `after_ms` at which a window with one of the panes is due.

        NEVER_MS without one.

        Examples
        --------
        >>> spans = PaneSpans(10)
        >>> spans.add(30, 40)
        >>> day = WindowReach(step_ms=100, size_ms=100, offset_ms=7)
        >>> spans.next_due([day], 0), spans.next_due([day], 107) == NEVER_MS
        (107, True)
        """
        next_ms = NEVER_MS
        for step_ms, size_ms, offset_ms in reaches:
            for first, last in self._spans:
                begin_ms = max(after_ms - offset_ms, first)
                end_ms = begin_ms - begin_ms % step_ms + step_ms
                if end_ms <= last + size_ms:
                    next_ms = min(next_ms, end_ms + offset_ms)
                    break
        return next_ms
