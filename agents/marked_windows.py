"""The windows that may lack rows which were lost before they were read, as one sentence."""

from __future__ import annotations

from driftline.schemas.results import WindowFigures
from driftline.schemas.times import format_time


class MarkedWindows:
    """Collects the figures whose `losses` are not empty.

    Examples
    --------
    >>> MarkedWindows().message() is None
    True
    """

    def __init__(self) -> None:
        self._windows: set[tuple[str, str, int]] = set()
        self._topics: set[str] = set()
        self._from_ms, self._until_ms = 1 << 62, 0

    def add(self, figures: WindowFigures) -> None:
        """Add the figures of a window; provisional ones do not count."""
        if not figures.losses or figures.provisional:
            return
        self._windows.add((figures.lane, figures.window, figures.window_start_ms))
        self._topics.update(loss.topic for loss in figures.losses)
        self._from_ms = min(self._from_ms, *(loss.from_ms for loss in figures.losses))
        self._until_ms = max(self._until_ms, *(loss.until_ms for loss in figures.losses))

    def message(self) -> str | None:
        """What the windows lack; None if all are whole."""
        count = len(self._windows)
        if not count:
            return None
        windows = "1 window may lack" if count == 1 else f"{count:,} windows may lack"
        return (
            f"{windows} rows of {' and '.join(sorted(self._topics))} between "
            f"{format_time(self._from_ms)} and {format_time(self._until_ms)}, which were lost "
            "before they were read; their figures name the loss in the field losses"
        )
