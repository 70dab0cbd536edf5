"""Which part of a window is covered by data: from the first prediction of the version to the last
one of the log.

A silence inside is covered: that there was no traffic is known. Before the version began, and after
the log ended, nothing is known.
"""

from __future__ import annotations

from typing import NamedTuple

from driftline.schemas.results import WHOLE_SHARE
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time


class CoveredSpan(NamedTuple):
    """A window and its covered part, all in ms.

    Attributes
    ----------
    start_ms, end_ms
        The window.
    from_ms, until_ms
        The covered part; empty if `from_ms` is not before `until_ms`.
    began_ms
        Where the data begin.
    ended_ms
        Time of the last prediction; None while the log goes on.
    """

    start_ms: int
    end_ms: int
    from_ms: int
    until_ms: int
    began_ms: int
    ended_ms: int | None

    @property
    def share(self) -> float:
        """Share of the window that is covered, in [0, 1], to six decimals."""
        return round(self._covered_ms / (self.end_ms - self.start_ms), 6)

    @property
    def is_whole(self) -> bool:
        """Whether the window can be compared with whole ones."""
        return self.share >= WHOLE_SHARE

    @property
    def reason(self) -> str:
        """What is covered and why not more, as part of a sentence."""
        size_ms = self.end_ms - self.start_ms
        unit_ms, unit = next(
            (ms, name)
            for ms, name in (
                (DAY_MS, "days"),
                (HOUR_MS, "hours"),
                (MINUTE_MS, "minutes"),
                (1, "ms"),
            )
            if size_ms % ms == 0 and size_ms > ms
        )
        covered = f"{self._covered_ms / unit_ms:.1f}".removesuffix(".0")
        ends = []
        if self.from_ms > self.start_ms:
            ends.append(f"the data of the version begin at {format_time(self.began_ms)}")
        if self.until_ms < self.end_ms and self.ended_ms is not None:
            ends.append(f"the log ends at {format_time(self.ended_ms)}")
        how = "covered in part" if self._covered_ms else "not covered"
        return f"{how}: data for {covered} of {size_ms // unit_ms} {unit}; {' and '.join(ends)}"

    @property
    def _covered_ms(self) -> int:
        return max(self.until_ms - self.from_ms, 0)


def covered_span(
    start_ms: int, end_ms: int, *, began_ms: int, ended_ms: int | None, grain_ms: int
) -> CoveredSpan:
    """The covered part of a window, in whole grains.

    Parameters
    ----------
    began_ms
        Start of the first pane with a prediction of the version.
    ended_ms
        Time of the last prediction of the log; None while it goes on.
    grain_ms
        The part begins and ends at a multiple of it, or at an edge of the window.

    Examples
    --------
    >>> hour = 3_600_000
    >>> span = covered_span(0, 7 * hour, began_ms=0, ended_ms=2 * hour - 1, grain_ms=hour)
    >>> span.share, span.is_whole
    (0.285714, False)
    >>> span.reason
    'covered in part: data for 2 of 7 hours; the log ends at 1970-01-01T01:59:59.999Z'
    """
    until_ms = end_ms
    if ended_ms is not None:
        until_ms = min(end_ms, (ended_ms // grain_ms + 1) * grain_ms)
    from_ms = max(start_ms, began_ms // grain_ms * grain_ms)
    return CoveredSpan(start_ms, end_ms, from_ms, until_ms, began_ms, ended_ms)
