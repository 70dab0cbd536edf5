"""Which window a rule without a named one reads: the smallest that usually holds enough rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from driftline.schemas.times import DAY_MS

WEEK_MS: Final = 7 * DAY_MS
USUALLY: Final = 0.5
STILL_USUALLY: Final = 0.4
"""Share of the windows that must have enough rows, and below which a chosen window is left."""


class RowCounts(NamedTuple):
    """Windows of one kind with predictions, and those of them with enough rows: of this week and of
    the week before.
    """

    enough: int = 0
    windows: int = 0
    enough_before: int = 0
    windows_before: int = 0

    @property
    def all_windows(self) -> int:
        """Of both weeks."""
        return self.windows + self.windows_before

    @property
    def all_enough(self) -> int:
        """Of both weeks."""
        return self.enough + self.enough_before


class FittingWindow(msgspec.Struct, frozen=True, array_like=True):
    """Rows of the windows that a rule may read, in one series, and the window that it reads.

    Parameters
    ----------
    window
        Name of the window; "" before the first one.
    judges
        Whether the window usually holds enough rows; None if it is not known yet.
    day, week
        Day and week since the epoch of the newest window that was counted.
    counts
        By window; one that no whole window has come of is missing.
    """

    window: str = ""
    judges: bool | None = None
    day: int = -1
    week: int = -1
    counts: dict[str, RowCounts] = {}

    def with_rows(self, window: str, end_ms: int, *, is_enough: bool) -> FittingWindow:
        """Add a whole window with predictions."""
        day, week = end_ms // DAY_MS, end_ms // WEEK_MS
        counts = self.counts
        if week > self.week:
            is_next = week == self.week + 1
            counts = {
                name: RowCounts(0, 0, each.enough, each.windows) if is_next else RowCounts()
                for name, each in counts.items()
            }
        before = counts.get(window, RowCounts())
        after = before._replace(enough=before.enough + is_enough, windows=before.windows + 1)
        return msgspec.structs.replace(
            self,
            day=max(day, self.day),
            week=max(week, self.week),
            counts={**counts, window: after},
        )

    def chosen(self, windows: Sequence[str]) -> FittingWindow:
        """The choice among windows, the smallest first, by the rows so far.

        The smallest that usually holds enough rows; else the smallest that is not known yet; else
        the largest.

        Examples
        --------
        >>> fit = FittingWindow()
        >>> for hour in range(24):
        ...     fit = fit.with_rows("1h", hour * 3_600_000, is_enough=False)
        >>> fit.chosen(("1h", "1d")).window, fit.chosen(("1h", "1d")).judges
        ('1d', None)
        >>> fit = fit.with_rows("1d", DAY_MS, is_enough=True)
        >>> fit.chosen(("1h", "1d")).window, fit.chosen(("1h", "1d")).judges
        ('1d', True)
        """
        unknown = [name for name in windows if not self.counts.get(name, RowCounts()).all_windows]
        fitting = [name for name in windows if name not in unknown and self._holds_enough(name)]
        if fitting:
            return msgspec.structs.replace(self, window=fitting[0], judges=True)
        if unknown:
            return msgspec.structs.replace(self, window=unknown[0], judges=None)
        return msgspec.structs.replace(self, window=windows[-1], judges=False)

    def _holds_enough(self, name: str) -> bool:
        counts = self.counts[name]
        least = STILL_USUALLY if name == self.window and self.judges else USUALLY
        return counts.all_enough >= least * counts.all_windows
