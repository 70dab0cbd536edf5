"""Figures of an index: which series there are, their records, and one metric over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.agents.read_model.packed import Samples, unpack
from driftline.agents.read_model.selection import condition
from driftline.schemas.results import (
    NO_MATURITY,
    WHOLE,
    WHOLE_SHARE,
    Histogram,
    WindowFigures,
    decoder,
)
from driftline.schemas.times import DAY_MS, parse_duration

_decode_figures = decoder(WindowFigures).decode
_decode_histogram = decoder(Histogram).decode
ALWAYS: Final = 1 << 62
"""A time that never comes, in ms since the epoch."""
REGULAR: Final = ("tumbling", "sliding")
"""Kinds of windows that follow each other in time."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted together over time, at one maturity.

    Attributes
    ----------
    maturity
        Name of the rung; null in a lane without a ladder.
    kind
        Of the window; empty if only histograms of the series are known.
    """

    model_name: str
    model_version: str
    segment: str
    lane: str
    window: str
    maturity: str | None
    kind: str = ""


class SeriesFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which series; None selects all values of a field.

    Attributes
    ----------
    maturity
        Name of a rung; "-" selects the lanes without a ladder.
    """

    model_name: str | None = None
    model_version: str | None = None
    segment: str | None = None
    lane: str | None = None
    window: str | None = None
    maturity: str | None = None


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which windows of a series.

    Attributes
    ----------
    since_ms, until_ms
        The window ends after the first and at the second at the latest, in ms since the epoch.
    known_at_ms
        Only figures that were complete at this frontier.
    provisional
        Whether windows that are still open are included.
    """

    since_ms: int = -ALWAYS
    until_ms: int = ALWAYS
    known_at_ms: int = ALWAYS
    provisional: bool = False


class Curve(msgspec.Struct, kw_only=True):
    """Metrics of one series over W windows, in the order of time.

    Attributes
    ----------
    start_ms, end_ms, complete_at_ms
        Shape (W,), in ms since the epoch.
    n_predictions, n
        Shape (W,), as in `WindowFigures`.
    final, provisional
        Shape (W,).
    covered_share
        Shape (W,), as in `WindowFigures`.
    value, low, high
        By metric, shape (W,): the value and its 95 % interval, NaN where there is none.
    null_reasons
        By metric, why there is no value, by place in the arrays.
    """

    series: Series
    start_ms: npt.NDArray[np.int64]
    end_ms: npt.NDArray[np.int64]
    complete_at_ms: npt.NDArray[np.int64]
    n_predictions: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    final: npt.NDArray[np.bool_]
    provisional: npt.NDArray[np.bool_]
    covered_share: npt.NDArray[np.float64]
    value: dict[str, npt.NDArray[np.float64]]
    low: dict[str, npt.NDArray[np.float64]]
    high: dict[str, npt.NDArray[np.float64]]
    null_reasons: dict[str, dict[int, str]]


class _Values(msgspec.Struct):
    """What a curve takes from a record."""

    metrics: dict[str, float | None]
    ci: dict[str, tuple[float, float]] = {}
    null_reasons: dict[str, str] = {}
    covered_share: float = WHOLE


_decode_values = msgspec.json.Decoder(_Values).decode


class FigureReads:
    """Reads figures; `samples` are those of the index."""

    def __init__(self, connection: sqlite3.Connection, samples: Samples) -> None:
        self._connection = connection
        self._samples = samples

    def series(self, wanted: SeriesFilter) -> list[Series]:
        """The series of a filter in the order of their names."""
        return [series for _, series in self._series(wanted)]

    def newest(self, wanted: SeriesFilter, *, known_at_ms: int = ALWAYS) -> Iterator[WindowFigures]:
        """The newest window of each series that was complete at a frontier."""
        for series_id, _ in self._series(wanted):
            if (record := next(self._newest_first(series_id, known_at_ms), None)) is not None:
                yield record

    def newest_whole(
        self, wanted: SeriesFilter, *, known_at_ms: int = ALWAYS
    ) -> Iterator[WindowFigures]:
        """The newest window of each series that was complete at a frontier and that data cover as a
        whole, or the newest one if there is none.
        """
        for series_id, _ in self._series(wanted):
            records = self._newest_first(series_id, known_at_ms)
            newest = next(records, None)
            if newest is not None:
                whole = (each for each in records if each.covered_share >= WHOLE_SHARE)
                yield newest if newest.covered_share >= WHOLE_SHARE else next(whole, newest)

    def between(self, wanted: SeriesFilter, span: Span) -> Iterator[WindowFigures]:
        """The windows of each series in the order of time."""
        for series_id, _ in self._series(wanted):
            for row in self._windows(series_id, span, "sample_id, record"):
                yield _decode_figures(self._unpacked(*row))

    def starts(self, series: Series) -> list[int]:
        """Starts of the complete windows of a series with rows, in ms since the epoch: labelled
        ones, or of traffic any.
        """
        rows = "n_predictions" if series.lane == "traffic" else "n"
        return [
            start
            for series_id, _ in self._series(only(series))
            for (start,) in self._connection.execute(
                f"SELECT start_ms FROM figures WHERE series_id = ? AND NOT provisional AND {rows}"
                " ORDER BY start_ms",
                (series_id,),
            )
        ]

    def at(self, series: Series, start_ms: int) -> WindowFigures | None:
        """The window of a series that starts then; None if there is none."""
        for series_id, _ in self._series(only(series)):
            row = self._connection.execute(
                "SELECT sample_id, record FROM figures WHERE series_id = ? AND start_ms = ?",
                (series_id, start_ms),
            ).fetchone()
            if row is not None:
                return _decode_figures(self._unpacked(*row))
        return None

    def curve(self, series: Series, metrics: Sequence[str], span: Span) -> Curve:
        """Metrics of a series over time; without any window the arrays are empty.

        Without metrics no record is decoded, and `covered_share` is 1.
        """
        found = self._series(only(series))
        columns = "start_ms, end_ms, complete_at_ms, n_predictions, n, final, provisional"
        rows = (
            list(self._windows(found[0][0], span, f"{columns}, sample_id, record")) if found else []
        )
        numbers = np.array([row[:7] for row in rows], dtype=np.int64).reshape(-1, 7)
        shape = (len(metrics), len(rows))
        value, low, high = (np.full(shape, np.nan) for _ in range(3))
        covered_share = np.ones(len(rows))
        reasons: dict[str, dict[int, str]] = {metric: {} for metric in metrics}
        for at, row in enumerate(rows if metrics else ()):
            record = _decode_values(self._unpacked(*row[7:]))
            covered_share[at] = record.covered_share
            for line, metric in enumerate(metrics):
                if (number := record.metrics.get(metric)) is not None:
                    value[line, at] = number
                elif metric in record.null_reasons:
                    reasons[metric][at] = record.null_reasons[metric]
                if metric in record.ci:
                    low[line, at], high[line, at] = record.ci[metric]
        return Curve(
            series=found[0][1] if found else series,
            start_ms=numbers[:, 0],
            end_ms=numbers[:, 1],
            complete_at_ms=numbers[:, 2],
            n_predictions=numbers[:, 3],
            n=numbers[:, 4],
            final=numbers[:, 5].astype(bool),
            provisional=numbers[:, 6].astype(bool),
            covered_share=covered_share,
            value=dict(zip(metrics, value, strict=True)),
            low=dict(zip(metrics, low, strict=True)),
            high=dict(zip(metrics, high, strict=True)),
            null_reasons=reasons,
        )

    def series_with_histograms(self, wanted: SeriesFilter) -> list[Series]:
        """The series of a filter that have score histograms, in the order of their names."""
        return [
            series
            for series_id, series in self._series(wanted)
            if self._connection.execute(
                "SELECT 1 FROM histograms WHERE series_id = ? LIMIT 1", (series_id,)
            ).fetchone()
        ]

    def histogram_starts(self, series: Series) -> list[int]:
        """Starts of the windows with score histograms, in ms since the epoch, in order."""
        return [
            start
            for series_id, _ in self._series(only(series))
            for (start,) in self._connection.execute(
                "SELECT start_ms FROM histograms WHERE series_id = ? ORDER BY start_ms",
                (series_id,),
            )
        ]

    def histograms(self, series: Series, span: Span) -> Iterator[Histogram]:
        """The score histograms of a series in the order of time."""
        for series_id, _ in self._series(only(series)):
            for row in self._connection.execute(
                "SELECT sample_id, record FROM histograms WHERE series_id = ? AND end_ms > ?"
                " AND end_ms <= ? ORDER BY start_ms",
                (series_id, span.since_ms, span.until_ms),
            ):
                yield _decode_histogram(self._unpacked(*row))

    def predictions(
        self,
        *,
        model_name: str | None = None,
        model_version: str | None = None,
        known_at_ms: int = ALWAYS,
    ) -> dict[tuple[str, str], tuple[int, int]]:
        """By model and version, the number of predictions and the end of the newest window of
        traffic with any, in ms since the epoch.

        The windows of one size add up to all predictions. The sums of several sizes differ only at
        the end of an unfinished run, where the smaller windows have counted more; the largest sum
        is used. Of a run with more windows than the index keeps, these alone are counted.
        """
        where, fields = condition(SeriesFilter(model_name=model_name, model_version=model_version))
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for model, version, count, until in self._connection.execute(
            "SELECT model_name, model_version, sum(n_predictions), max(end_ms)"
            " FROM series JOIN figures USING (series_id)"
            " WHERE lane = 'traffic' AND kind = 'tumbling' AND segment = 'all' AND n_predictions"
            f" AND complete_at_ms <= :known AND {where}"
            " GROUP BY model_name, model_version, window",
            {**fields, "known": known_at_ms},
        ):
            before = found.get((model, version), (0, 0))
            found[model, version] = max(before[0], count), max(before[1], until)
        return found

    def frontier(self, wanted: SeriesFilter, *, known_at_ms: int = ALWAYS) -> int | None:
        """The latest frontier at which the newest window of a series was complete, in ms since the
        epoch; None without any.
        """
        reached = [
            row[0]
            for series_id, _ in self._series(wanted)
            if (
                row := self._connection.execute(
                    "SELECT complete_at_ms FROM figures WHERE series_id = ? AND NOT provisional"
                    " AND complete_at_ms <= ? ORDER BY start_ms DESC LIMIT 1",
                    (series_id, known_at_ms),
                ).fetchone()
            )
        ]
        return max(reached, default=None)

    def span(self, series: Series, *, known_at_ms: int = ALWAYS) -> tuple[int, int] | None:
        """Start of the first and end of the last complete window of a series, in ms since the
        epoch; None without any.
        """
        for series_id, _ in self._series(only(series)):
            first, last = self._connection.execute(
                "SELECT min(start_ms), max(end_ms) FROM figures WHERE series_id = ?"
                " AND NOT provisional AND complete_at_ms <= ?",
                (series_id, known_at_ms),
            ).fetchone()
            if first is not None:
                return first, last
        return None

    def _series(self, wanted: SeriesFilter) -> list[tuple[int, Series]]:
        where, fields = condition(wanted)
        rows = self._connection.execute(
            "SELECT series_id, model_name, model_version, segment, lane, window, maturity, kind"
            f" FROM series WHERE {where}"
            " ORDER BY model_name, model_version, segment, lane, window, maturity",
            fields,
        )
        return [
            (
                series_id,
                Series(
                    model_name=names[0],
                    model_version=names[1],
                    segment=names[2],
                    lane=names[3],
                    window=names[4],
                    maturity=None if names[5] == NO_MATURITY else names[5],
                    kind=names[6],
                ),
            )
            for series_id, *names in rows
        ]

    def _windows(self, series_id: int, span: Span, columns: str) -> Iterator[Any]:
        return self._connection.execute(
            f"SELECT {columns} FROM figures WHERE series_id = ? AND end_ms > ? AND end_ms <= ?"
            " AND complete_at_ms <= ? AND provisional <= ? ORDER BY start_ms",
            (series_id, span.since_ms, span.until_ms, span.known_at_ms, span.provisional),
        )

    def _newest_first(self, series_id: int, known_at_ms: int) -> Iterator[WindowFigures]:
        """The complete windows, from the newest one back."""
        for row in self._connection.execute(
            "SELECT sample_id, record FROM figures WHERE series_id = ? AND NOT provisional"
            " AND complete_at_ms <= ? ORDER BY start_ms DESC",
            (series_id, known_at_ms),
        ):
            yield _decode_figures(self._unpacked(*row))

    def _unpacked(self, sample_id: int, record: bytes) -> bytes:
        return unpack(record, self._samples.content(self._connection, sample_id))


def only(series: Series) -> SeriesFilter:
    """The filter that selects one series."""
    return SeriesFilter(
        model_name=series.model_name,
        model_version=series.model_version,
        segment=series.segment,
        lane=series.lane,
        window=series.window,
        maturity=series.maturity or NO_MATURITY,
    )


def segments_of(figures: FigureReads, whole: WindowFigures) -> list[WindowFigures]:
    """The complete records of the segments in the window of a record, at its rung."""
    wanted = SeriesFilter(
        model_name=whole.model_name,
        model_version=whole.model_version,
        lane=whole.lane,
        window=whole.window,
        maturity=whole.maturity or NO_MATURITY,
    )
    records = (
        figures.at(series, whole.window_start_ms)
        for series in figures.series(wanted)
        if series.segment != whole.segment
    )
    return [record for record in records if record is not None and not record.provisional]


def regular_windows(series: Iterable[Series]) -> dict[str, tuple[int, bool]]:
    """By name of a window that follows in time, its size in ms and whether it is tumbling."""
    return {
        each.window: (parse_duration(each.window.partition("/")[0]), each.kind == "tumbling")
        for each in series
        if each.kind in REGULAR
    }


def window_of_a_day(series: Iterable[Series]) -> str | None:
    """The largest window of at most a day, or the smallest one; None without any."""
    sizes = regular_windows(series)
    short = [window for window, (size, _) in sizes.items() if size <= DAY_MS]
    if short:
        return max(short, key=lambda window: (*sizes[window], window))
    return min(sizes, key=lambda window: (*sizes[window], window), default=None)
