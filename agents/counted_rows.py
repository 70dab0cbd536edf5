"""How many rows were counted as what over a span, by the windows of an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from driftline.agents.read_model.figure_reads import Series, SeriesFilter, Span, regular_windows
from driftline.schemas.times import DAY_MS
from driftline.streams.lanes import ALL

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import FigureReads


def tumbling_window(series: Iterable[Series]) -> str | None:
    """The largest tumbling window of at most a day, or the smallest one; None without any."""
    sizes = {
        window: size for window, (size, tumbling) in regular_windows(series).items() if tumbling
    }
    short = {window: size for window, size in sizes.items() if size <= DAY_MS}
    if short:
        return max(short, key=lambda window: (short[window], window))
    return min(sizes, key=lambda window: (sizes[window], window), default=None)


def counted_arrivals(
    figures: FigureReads, model_name: str, model_version: str | None, span: Span
) -> Counter[str]:
    """By name of a counter, the rows that became known in a span: late ones, repeated ones, expired
    ones. "" as the name of the model has truths without a prediction.
    """
    wanted = SeriesFilter(
        model_name=model_name, model_version=model_version, segment=ALL, lane="arrivals"
    )
    versions: dict[str, list[Series]] = {}
    for each in figures.series(wanted):
        versions.setdefault(each.model_version, []).append(each)
    counted: Counter[str] = Counter()
    for version, series in versions.items():
        window = tumbling_window(series)
        if window is not None:
            one = SeriesFilter(
                model_name=model_name,
                model_version=version,
                segment=ALL,
                lane="arrivals",
                window=window,
            )
            for record in figures.between(one, span):
                counted.update(record.counts)
    return counted
