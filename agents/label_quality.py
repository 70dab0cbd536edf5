"""How good the labels of each model version are: how many came, when, and which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from driftline.agents.counted_rows import counted_arrivals, tumbling_window
from driftline.agents.read_model.figure_reads import Series, SeriesFilter, Span
from driftline.schemas.results import WindowFigures
from driftline.schemas.times import EpochMs, parse_duration
from driftline.streams.lanes import ALL, NO_MODEL

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import FigureReads


class LabelWindow(
    msgspec.Struct,
    kw_only=True,
    rename={"window_start_ms": "window_start", "window_end_ms": "window_end"},
):
    """The labels of the predictions of one window.

    Attributes
    ----------
    final
        Whether no label can come any more.
    n, n_predictions
        Labelled predictions, and all of them.
    delay_p50_ms, delay_p95_ms
        Quantiles of the time until the label was known; null without labels.
    classes
        Number of rows by actual label.
    """

    window_start_ms: EpochMs
    window_end_ms: EpochMs
    final: bool
    n: int
    n_predictions: int
    delay_p50_ms: float | None
    delay_p95_ms: float | None
    classes: dict[str, int]


class LabelQuality(msgspec.Struct, kw_only=True, rename={"since_ms": "since", "until_ms": "until"}):
    """The labels of a model version in a span.

    Attributes
    ----------
    since_ms, until_ms
        The span, of the times of predictions.
    window
        Size of the windows.
    never_labelled, not_yet_labelled
        Predictions without a label in windows that are final, and in the others.
    corrected, retracted
        Predictions whose label was replaced by another, or taken back.
    late_truths, duplicate_truths
        Truths that came in the span and changed nothing: after the horizon, or known before.
    conflicting_predictions
        Predictions that repeat an id with other content.
    strays
        Number of rows by a label that is none of the model's.
    windows
        In the order of time.
    """

    model_name: str
    model_version: str
    since_ms: EpochMs
    until_ms: EpochMs
    window: str
    maturity: str | None
    n_predictions: int
    n: int
    never_labelled: int
    not_yet_labelled: int
    corrected: int
    retracted: int
    late_truths: int
    duplicate_truths: int
    conflicting_predictions: int
    strays: dict[str, int]
    windows: list[LabelWindow]


def label_quality(
    figures: FigureReads, *, model_name: str | None, model_version: str | None, span_ms: int
) -> list[LabelQuality]:
    """The labels of each version that has a tumbling window, in the last `span_ms` before the end
    of its newest complete window, at the last rung.
    """
    wanted = SeriesFilter(
        model_name=model_name, model_version=model_version, segment=ALL, lane="decisions"
    )
    versions: dict[tuple[str, str], list[Series]] = {}
    for each in figures.series(wanted):
        versions.setdefault((each.model_name, each.model_version), []).append(each)
    found = []
    for series in versions.values():
        window = tumbling_window(series)
        rungs = [each for each in series if each.window == window]
        if rungs:
            last = max(rungs, key=lambda each: parse_duration(each.maturity or "0s"))
            quality = _of_series(figures, last, span_ms)
            if quality is not None:
                found.append(quality)
    return found


def unmatched_truths(figures: FigureReads, qualities: Iterable[LabelQuality]) -> int:
    """Truths that met no prediction, in the spans of some reports; it is not known of which model
    they are.
    """
    spans = [(each.since_ms, each.until_ms) for each in qualities]
    if not spans:
        return 0
    since, until = min(start for start, _ in spans), max(end for _, end in spans)
    return counted_arrivals(figures, NO_MODEL, None, Span(since_ms=since, until_ms=until))[
        "unmatched"
    ]


def _of_series(figures: FigureReads, series: Series, span_ms: int) -> LabelQuality | None:
    from driftline.agents.read_model.figure_reads import only

    newest = next(figures.newest(only(series)), None)
    if newest is None:
        return None
    span = Span(since_ms=newest.window_end_ms - span_ms, until_ms=newest.window_end_ms)
    records = list(figures.between(only(series), span))
    changed, strays = Counter[str](), Counter[str]()
    for record in records:
        changed.update(record.counts)
        strays.update(record.strays)
    arrived = counted_arrivals(figures, series.model_name, series.model_version, span)
    return LabelQuality(
        model_name=series.model_name,
        model_version=series.model_version,
        since_ms=EpochMs(span.since_ms),
        until_ms=EpochMs(span.until_ms),
        window=series.window,
        maturity=series.maturity,
        n_predictions=sum(record.n_predictions for record in records),
        n=sum(record.n for record in records),
        never_labelled=sum(_unlabelled(record) for record in records if record.final),
        not_yet_labelled=sum(_unlabelled(record) for record in records if not record.final),
        corrected=changed["corrected"],
        retracted=changed["retracted"],
        late_truths=arrived["late_truths"],
        duplicate_truths=arrived["duplicate_truths"],
        conflicting_predictions=arrived["conflicting_predictions"],
        strays=dict(strays.most_common()),
        windows=list(map(_window, records)),
    )


def _unlabelled(record: WindowFigures) -> int:
    return record.n_predictions - record.n - sum(record.strays.values())


def _window(record: WindowFigures) -> LabelWindow:
    return LabelWindow(
        window_start_ms=record.window_start_ms,
        window_end_ms=record.window_end_ms,
        final=record.final,
        n=record.n,
        n_predictions=record.n_predictions,
        delay_p50_ms=record.metrics.get("delay_p50"),
        delay_p95_ms=record.metrics.get("delay_p95"),
        classes=_classes(record.labels, record.matrix),
    )


def _classes(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> dict[str, int]:
    return {label: sum(row) for label, row in zip(labels, matrix, strict=False)}
