"""Scores of a window: histograms by class, and what each threshold would give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from driftline.agents.model_status import at_judged_rung
from driftline.agents.read_model.figure_reads import Series, SeriesFilter, Span, only
from driftline.agents.read_model.series_order import rung_order
from driftline.agents.serve.answers.scores import (
    AtThreshold,
    Calibration,
    ProposedThreshold,
    ScoreHistogram,
    Scores,
)
from driftline.agents.serve.columns import numbers
from driftline.agents.serve.in_force import entries_at
from driftline.agents.serve.route import Route, Table, Unanswerable
from driftline.agents.serve.routes.alerts import recommendations_at
from driftline.agents.serve.series_choice import (
    JUDGED,
    LAST,
    WindowQuery,
    chosen_version,
    known_at,
    missing,
    name_of,
)
from driftline.agents.serve.view import View
from driftline.schemas.results import Histogram
from driftline.schemas.times import format_time
from driftline.streams.decide.tuner.best_threshold import cells_by_edge
from driftline.streams.intervals import divided, wilson
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.f1 import F1
from driftline.streams.score_bins import EDGES, MIDDLES, SCORE_BINS, bin_numbers, edge_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_SHOWN_BINS: Final = 100
_STEPS: Final = 200
"""A slider has this many steps from 0 to 1."""
_MOST_POINTS: Final = 400
_GROUPS: Final = 20


class ScoresQuery(WindowQuery, kw_only=True, frozen=True):
    """Parameters of `/scores`.

    Attributes
    ----------
    window
        Name of a window with histograms; by default the first of them.
    start
        Begin of the last window that is added up; by default the newest one.
    windows
        How many windows are added up, for example 28 days.
    rows
        "fit", the half of the rows that thresholds are chosen on, "holdout", the half that judges
        them, or all.
    """

    windows: Annotated[int, Meta(ge=1, le=1_000)] = 1
    rows: Literal["all", "fit", "holdout"] = "all"


def scores(view: View, query: ScoresQuery) -> Scores:
    """Score histograms per class of a window, or of several added up, with precision, recall, F1
    and flagged share by threshold, ROC and precision-recall curves, and calibration.
    """
    series = _series(view, query)
    histograms = _histograms(view, query, series)
    newest = histograms[-1]
    counts = _counts(histograms, newest.labels, query.rows)
    entries = entries_at(
        view.reads,
        query.at,
        model_name=series.model_name,
        model_version=series.model_version,
    )
    threshold = entries[0].threshold if entries else None
    proposed = _proposed(view, query, series)
    positive = newest.positive_label
    reason = _why_not(newest)
    roc = pr = (np.zeros(0), np.zeros(0))
    at_threshold = calibration = roc_auc = average = None
    if reason is None and positive is not None:
        place = newest.labels.index(positive)
        positives, negatives = counts[place], counts.sum(axis=0) - counts[place]
        marks = [] if threshold is None else [threshold]
        marks += [] if proposed is None else [proposed.threshold]
        at_threshold = _at_thresholds(negatives, positives, marks)
        roc, pr, roc_auc, average = _curves(negatives, positives)
        calibration = _calibration(negatives, positives)
    return Scores(
        series=name_of(series),
        rows=query.rows,
        window_start_ms=histograms[0].window_start_ms,
        window_end_ms=newest.window_end_ms,
        n_windows=len(histograms),
        n=int(counts.sum()),
        final=all(each.final for each in histograms),
        labels=newest.labels,
        positive_label=positive,
        edges=[step / _SHOWN_BINS for step in range(_SHOWN_BINS + 1)],
        histograms=[
            ScoreHistogram(label=label, counts=_shown(row))
            for label, row in zip(newest.labels, counts, strict=True)
        ],
        at_threshold=at_threshold,
        null_reason=reason,
        roc_fpr=roc[0].round(6).tolist(),
        roc_tpr=roc[1].round(6).tolist(),
        pr_recall=pr[0].round(6).tolist(),
        pr_precision=numbers(pr[1].round(6)),
        roc_auc=roc_auc,
        average_precision=average,
        calibration=calibration,
        threshold=threshold,
        proposed=proposed,
    )


def _series(view: View, query: ScoresQuery) -> Series:
    """The series of a question, among those with histograms.

    Raises
    ------
    Unanswerable
        If there is none.
    """
    version = chosen_version(view, query.model, query.version, query.at)
    figures = view.reads.figures
    found = figures.series_with_histograms(
        SeriesFilter(model_name=query.model, model_version=version, lane=query.lane)
    )
    of_segment = [each for each in found if each.segment == query.segment]
    if not of_segment:
        segments = sorted({each.segment for each in found})
        raise missing("segment", query.segment, segments)
    windows = sorted({each.window for each in of_segment})
    window = query.window or windows[0]
    rungs = sorted(
        (each for each in of_segment if each.window == window),
        key=lambda each: rung_order(each.maturity),
    )
    if not rungs:
        raise missing("window", window, windows)
    by_name = {each.maturity: each for each in rungs}
    if query.maturity == LAST or None in by_name:
        return rungs[-1]
    if query.maturity == JUDGED:
        records = [
            record
            for each in rungs
            for record in figures.newest_whole(only(each), known_at_ms=known_at(query.at))
        ]
        return by_name[at_judged_rung(records).maturity] if records else rungs[-1]
    if query.maturity not in by_name:
        raise missing("maturity", query.maturity, [JUDGED, LAST, *map(str, by_name)])
    return by_name[query.maturity]


def _histograms(view: View, query: ScoresQuery, series: Series) -> list[Histogram]:
    """The histograms that are added up, in order of time: those whose figures were known.

    Raises
    ------
    Unanswerable
        If there is none.
    """
    figures = view.reads.figures
    span = Span(known_at_ms=known_at(query.at))
    known = set(figures.curve(series, [], span).start_ms.tolist())
    starts = sorted(
        start
        for start in figures.histogram_starts(series)
        if start in known and (query.start is None or start <= query.start)
    )
    if not starts or (query.start is not None and starts[-1] != query.start):
        raise Unanswerable(
            status=404,
            parameter="start",
            needed=f"a window of {series.window} with score histograms",
            got=None if query.start is None else format_time(query.start),
            remedy="leave `start` out for the newest one"
            if known
            else "wait for the first figures",
        )
    chosen = set(starts[-query.windows :])
    since_ms = min(chosen)
    return [
        each
        for each in figures.histograms(series, Span(since_ms=since_ms))
        if each.window_start_ms in chosen
    ]


def _counts(histograms: Iterable[Histogram], labels: list[str], rows: str) -> Ints:
    """Shape (K, SCORE_BINS): rows by label and score bin."""
    counts = np.zeros((len(labels), SCORE_BINS), dtype=np.int64)
    for histogram in histograms:
        halves = {"fit": histogram.fit, "holdout": histogram.holdout}
        for name, half in halves.items():
            if rows not in ("all", name):
                continue
            for label, bins in half.items():
                if label in labels:
                    places = bin_numbers(bins)
                    counts[labels.index(label), places] += np.fromiter(bins.values(), np.int64)
    return counts


def _why_not(histogram: Histogram) -> str | None:
    if len(histogram.labels) != 2:
        return "a threshold needs two labels"
    if histogram.positive_label not in histogram.labels:
        return "the positive label is not known"
    return None


def _shown(row: Ints) -> list[int]:
    """Counts of one class in the bins that an answer shows."""
    # Edges are decimals: a thousandth of a step is more than any rounding.
    lower = EDGES[np.arange(SCORE_BINS) // 2] * _SHOWN_BINS + 1e-3
    places = np.minimum(lower.astype(np.int64), _SHOWN_BINS - 1)
    return np.bincount(places, weights=row, minlength=_SHOWN_BINS).astype(np.int64).tolist()


def _at_thresholds(negatives: Ints, positives: Ints, marks: list[float]) -> AtThreshold:
    values = sorted({step / _STEPS for step in range(_STEPS + 1)} | set(marks))
    places = [2 * edge_of(value) for value in values]
    tn, fp, fn, tp = (each[places].astype(np.int64) for each in cells_by_edge(negatives, positives))
    precision, recall = divided(tp, tp + fp), divided(tp, tp + fn)
    precision_low, precision_high = wilson(tp, tp + fp)
    recall_low, recall_high = wilson(tp, tp + fn)
    counts = Counts(
        labels=("negative", "positive"),
        positive=1,
        matrix=np.stack([np.stack([tn, fp], axis=1), np.stack([fn, tp], axis=1)], axis=1),
        n_predictions=tn + fp + fn + tp,
    )
    f1, limits = F1().value(counts), F1().interval(counts)
    f1_low, f1_high = (np.full(len(values), np.nan),) * 2 if limits is None else limits
    return AtThreshold(
        threshold=values,
        tn=tn.tolist(),
        fp=fp.tolist(),
        fn=fn.tolist(),
        tp=tp.tolist(),
        precision=numbers(precision.round(6)),
        precision_low=numbers(precision_low.round(6)),
        precision_high=numbers(precision_high.round(6)),
        recall=numbers(recall.round(6)),
        recall_low=numbers(recall_low.round(6)),
        recall_high=numbers(recall_high.round(6)),
        f1=numbers(f1.round(6)),
        f1_low=numbers(f1_low.round(6)),
        f1_high=numbers(f1_high.round(6)),
        flagged_share=np.nan_to_num(divided(tp + fp, tn + fp + fn + tp)).round(6).tolist(),
    )


def _curves(
    negatives: Ints, positives: Ints
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats], float | None, float | None]:
    """ROC and precision-recall curves from the highest threshold to the lowest, and their areas."""
    empty = (np.zeros(0), np.zeros(0))
    if not negatives.sum() or not positives.sum():
        return empty, empty, None, None
    _, fp, _, tp = (each[::-1] for each in cells_by_edge(negatives, positives))
    moved = np.flatnonzero(np.diff(fp + tp, prepend=-1.0))
    fp, tp = fp[moved], tp[moved]
    fpr, tpr = fp / fp[-1], tp / tp[-1]
    precision = divided(tp, tp + fp)
    roc_auc = float(np.trapezoid(tpr, fpr))
    average = float((np.diff(tpr) * precision[1:]).sum())
    kept = np.unique(np.linspace(0, len(fpr) - 1, min(len(fpr), _MOST_POINTS)).astype(int))
    return (
        (fpr[kept], tpr[kept]),
        (tpr[kept], precision[kept]),
        round(roc_auc, 6),
        round(average, 6),
    )


def _calibration(negatives: Ints, positives: Ints) -> Calibration:
    rows = negatives + positives
    used = np.flatnonzero(rows)
    before = np.cumsum(rows[used]) - rows[used]
    groups = before * _GROUPS // max(int(rows.sum()), 1)
    _, group = np.unique(groups, return_inverse=True)
    n = np.bincount(group, weights=rows[used])
    right = np.bincount(group, weights=positives[used])
    score = np.bincount(group, weights=rows[used] * MIDDLES[used])
    low, high = wilson(right, n)
    return Calibration(
        score=(score / n).round(6).tolist(),
        share=(right / n).round(6).tolist(),
        low=low.round(6).tolist(),
        high=high.round(6).tolist(),
        n=n.astype(np.int64).tolist(),
    )


def _proposed(view: View, query: ScoresQuery, series: Series) -> ProposedThreshold | None:
    for each in recommendations_at(view.reads, query.at, series.model_name, series.model_version):
        threshold = each.params.get("threshold")
        if each.status == "open" and isinstance(threshold, float):
            return ProposedThreshold(
                threshold=threshold,
                recommendation_id=each.recommendation_id,
                at_ms=each.at_ms,
                reason=each.reason,
            )
    return None


def _table(answer: Scores) -> Table:
    if answer.at_threshold is None:
        rows = [
            [edge, *(each.counts[at] for each in answer.histograms)]
            for at, edge in enumerate(answer.edges[:-1])
        ]
        return ["score_from", *(f"n_{each.label}" for each in answer.histograms)], rows
    names = list(AtThreshold.__struct_fields__)
    columns = [getattr(answer.at_threshold, name) for name in names]
    return names, list(zip(*columns, strict=True))


ROUTES: Final = (
    Route(path="/scores", query=ScoresQuery, answer=Scores, read=scores, table=_table),
)
