"""Everything that was not counted, and features with missing or unseen values."""

from __future__ import annotations

from collections import Counter
from typing import Final

from driftline.agents.read_model.drift_order import LEVELS
from driftline.agents.read_model.drift_reads import DriftFilter
from driftline.agents.read_model.figure_reads import (
    Series,
    SeriesFilter,
    Span,
    only,
    regular_windows,
)
from driftline.agents.read_model.series_order import rung_order
from driftline.agents.serve.answers.pipeline import FeatureQuality, Quality, UncountedRows
from driftline.agents.serve.route import Edge, Name, Route, Table
from driftline.agents.serve.series_choice import chosen_version, known_at
from driftline.agents.serve.spans import SpanQuery, chosen_span
from driftline.agents.serve.view import View
from driftline.agents.uncounted_rows import COUNTER_REASONS, Uncounted
from driftline.schemas.times import DAY_MS, EpochMs
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.lanes import ALL

_SHARES: Final = ("missing", "unseen")
_OTHERS: Final = {
    "never_labelled": (
        PREDICTIONS,
        True,
        "no truth came in time: the predictions count in the traffic, in no figure of performance",
        "none where not every prediction gets a truth; else look at the delay curve",
    ),
    "retracted": (
        GROUND_TRUTH,
        True,
        "the truth was taken back: the prediction counts as one without",
        "none if that was meant",
    ),
    "stray_label": (
        GROUND_TRUTH,
        False,
        "the label is none of the model's: the row is in no cell of the matrix",
        "correct the producer, or set the labels of the model",
    ),
}


class QualityQuery(SpanQuery, kw_only=True, frozen=True):
    """Parameters of `/quality`.

    Attributes
    ----------
    model, version
        Only this model and version; rejected rows are of no model.
    since
        Only windows that end after this time; by default the newest 30 days.
    """

    model: Name | None = None
    version: Name | None = None
    since: Edge | None = Edge(back_ms=30 * DAY_MS)


def quality(view: View, query: QualityQuery) -> Quality:
    """Everything that was not counted, with meaning and remedy, and features with missing or unseen
    values in their newest test.
    """
    if query.model is not None:
        chosen_version(view, query.model, query.version, query.at)
    wanted = SeriesFilter(model_name=query.model, model_version=query.version, segment=ALL)
    newest = view.reads.figures.frontier(wanted, known_at_ms=known_at(query.at))
    span = chosen_span(query, newest)
    found = [*_counted(view, wanted, span), *_unlabelled(view, wanted, span)]
    found.sort(key=lambda each: (each.is_usual, -each.rows, each.reason))
    letters = view.server.letters
    rejected = [] if letters is None else letters.listed()
    return Quality(
        since_ms=None if newest is None else EpochMs(max(span.since_ms, 0)),
        until_ms=None if newest is None else EpochMs(min(span.until_ms, newest)),
        uncounted=[*(_rows(None, None, each) for each in rejected), *found],
        features=_features(view, query),
        rejected_note=None
        if letters is not None
        else "dead letters of a broker are listed by `driftline dlq list`, rows that were not "
        "counted by `driftline doctor`",
    )


def _counted(view: View, wanted: SeriesFilter, span: Span) -> list[UncountedRows]:
    """Counters of the arrivals lane."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for series in _of_a_day(view, wanted, "arrivals"):
        for record in view.reads.figures.between(only(series), span):
            counts.setdefault((record.model_name, record.model_version), Counter()).update(
                record.counts
            )
    return [
        _rows(
            model or None,
            version or None,
            Uncounted(
                topic=COUNTER_REASONS[name][0],
                reason=COUNTER_REASONS[name][1],
                rows=rows,
                example="",
            ),
        )
        for (model, version), of_version in counts.items()
        for name, rows in of_version.items()
        if name in COUNTER_REASONS and rows
    ]


def _unlabelled(view: View, wanted: SeriesFilter, span: Span) -> list[UncountedRows]:
    """Rows of final windows that are in no figure of performance."""
    counts: dict[tuple[str, str], Counter[tuple[str, str | None]]] = {}
    for series in _of_a_day(view, wanted, "decisions"):
        for record in view.reads.figures.between(only(series), span):
            if not record.final:
                continue
            names = record.model_name, record.model_version
            of_version = counts.setdefault(names, Counter())
            strays, retracted = sum(record.strays.values()), record.counts.get("retracted", 0)
            of_version["retracted", None] += retracted
            of_version["never_labelled", None] += record.n_predictions - record.n - strays
            for label, rows in record.strays.items():
                of_version["stray_label", label] += rows
    return [
        UncountedRows(
            model_name=model,
            model_version=version,
            topic=_OTHERS[reason][0],
            reason=reason,
            rows=rows,
            example=example,
            is_usual=_OTHERS[reason][1],
            meaning=_OTHERS[reason][2],
            remedy=_OTHERS[reason][3],
        )
        for (model, version), of_version in counts.items()
        for (reason, example), rows in of_version.items()
        if rows > 0
    ]


def _of_a_day(view: View, wanted: SeriesFilter, lane: str) -> list[Series]:
    """Of each version, the series of the largest tumbling window of at most a day, at the last
    rung.
    """
    versions: dict[tuple[str, str], list[Series]] = {}
    for each in view.reads.figures.series(wanted):
        if each.lane == lane and each.kind == "tumbling":
            versions.setdefault((each.model_name, each.model_version), []).append(each)
    chosen = []
    for of_version in versions.values():
        sizes = {name: size for name, (size, _) in regular_windows(of_version).items()}
        short = [name for name, size in sizes.items() if size <= DAY_MS] or list(sizes)
        window = max(short, key=lambda name: sizes[name])
        rungs = [each for each in of_version if each.window == window]
        chosen.append(max(rungs, key=lambda each: rung_order(each.maturity)))
    return chosen


def _rows(model: str | None, version: str | None, rows: Uncounted) -> UncountedRows:
    return UncountedRows(
        model_name=model,
        model_version=version,
        topic=rows.topic,
        reason=rows.reason,
        rows=rows.rows,
        example=rows.example or None,
        is_usual=rows.is_usual,
        meaning=rows.meaning,
        remedy=rows.remedy,
    )


def _features(view: View, query: QualityQuery) -> list[FeatureQuality]:
    found = [
        result
        for method in _SHARES
        for result in view.reads.drift.newest(
            DriftFilter(
                model_name=query.model, model_version=query.version, segment=ALL, method=method
            ),
            known_at_ms=known_at(query.at),
        )
        if result.details.get(f"{method}_share") or result.details.get(f"reference_{method}_share")
    ]
    found.sort(
        key=lambda each: (
            -LEVELS.index(each.level),
            -(each.details.get(f"{each.method}_share") or 0.0),
            each.key(),
        )
    )
    return [
        FeatureQuality(
            model_name=each.model_name,
            model_version=each.model_version,
            target=each.target,
            method=each.method,
            window_end_ms=each.window_end_ms,
            level=each.level,
            current_share=each.details.get(f"{each.method}_share"),
            reference_share=each.details.get(f"reference_{each.method}_share"),
            unseen=each.details.get("unseen", {}),
            n_current=each.n_current,
            reason=each.reason,
        )
        for each in found
    ]


def _table(answer: Quality) -> Table:
    names = list(UncountedRows.__struct_fields__)
    return names, [[getattr(each, name) for name in names] for each in answer.uncounted]


ROUTES: Final = (
    Route(
        path="/quality",
        query=QualityQuery,
        answer=Quality,
        read=quality,
        table=_table,
        is_timeless=False,
    ),
)
