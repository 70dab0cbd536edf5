"""When labels of a series became known, and how long they take."""

from __future__ import annotations

from typing import Final

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.streams.decide.activity import Activity, label_limit_ms

DELAY: Final = "delay_p95"


class LabelFeed(msgspec.Struct, frozen=True, array_like=True):
    """What is known about the labels of a series.

    Parameters
    ----------
    activity
        Windows of the arrivals lane with labels; None before the first.
    delay_ms
        Newest 95 % quantile of the delay, at the highest rung so far; None before the first.
    rung
        Number of that rung.
    """

    activity: Activity | None = None
    delay_ms: int | None = None
    rung: int = 0

    def with_labels(self, figures: WindowFigures, horizon_ms: int) -> LabelFeed:
        """Add a window of the arrivals lane; one without labels changes nothing."""
        if figures.n <= 0 and not figures.strays:
            return self
        start_ms, end_ms = int(figures.window_start_ms), int(figures.window_end_ms)
        if self.activity is None:
            return msgspec.structs.replace(self, activity=Activity(start_ms, end_ms))
        limit_ms = self.limit_ms(self.activity, end_ms - start_ms, horizon_ms)
        activity = self.activity.with_window(start_ms, end_ms, limit_ms)
        return msgspec.structs.replace(self, activity=activity)

    def with_delay(self, figures: WindowFigures, rung: int) -> LabelFeed:
        """Take over the delay from a window of the decisions lane at the rung of that number."""
        delay_ms = figures.metrics.get(DELAY)
        if delay_ms is None or rung < self.rung:
            return self
        return msgspec.structs.replace(self, delay_ms=round(delay_ms), rung=rung)

    def limit_ms(self, activity: Activity, window_ms: int, horizon_ms: int) -> int:
        """As `label_limit_ms`."""
        return label_limit_ms(activity, window_ms, delay_ms=self.delay_ms, horizon_ms=horizon_ms)
