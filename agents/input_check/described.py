"""The counts of a log as the document of `driftline check`."""

from __future__ import annotations

import re
from itertools import accumulate
from statistics import median
from typing import Final

import numpy as np

from driftline.agents.input_check.tallies import DayCounts, FeatureTally, ModelTally, VersionTally
from driftline.schemas.input_check import (
    ClassRead,
    Delays,
    FeatureKind,
    FeatureRead,
    LabelKind,
    LabelRead,
    ModelRead,
    VersionRead,
    WindowRead,
    WithinRung,
)
from driftline.schemas.settings import ModelConfig, Window
from driftline.schemas.times import format_time
from driftline.streams.label_vocabulary import plain_form
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.measure.timing.covered_span import covered_span
from driftline.streams.summaries.loglinear import quantiles

MOST_LISTED: Final = 100
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_WHOLE: Final = re.compile(r"-?[0-9]+", re.ASCII)


def median_per_day(times: DayCounts) -> float:
    """Median number of rows of the days with rows."""
    return float(median(times.days.values() or [0]))


def label_kind(label: str) -> LabelKind:
    """What a label looks like.

    Examples
    --------
    >>> [label_kind(text) for text in ("True", "1.0", "1.10", "007x")]
    ['true or false', 'whole number', 'number', 'text']
    """
    plain = plain_form(label)
    if plain in ("true", "false"):
        return "true or false"
    if _WHOLE.fullmatch(plain):
        return "whole number"
    return "number" if _NUMBER.fullmatch(plain) else "text"


def model_read(name: str, tally: ModelTally, report: LabelReport | None) -> ModelRead:
    """The labels of a model.

    Parameters
    ----------
    report
        What is known about them; None before any is in a complete window.
    """
    predictions, truths = tally.predictions.rows, tally.truths.rows
    rows = predictions + truths
    by_size = sorted(rows, key=lambda label: (-rows[label], label))
    listed = by_size[:MOST_LISTED]
    return ModelRead(
        model_name=name,
        labels=[
            LabelRead(
                label=label,
                kind=label_kind(label),
                predictions=predictions[label],
                truths=truths[label],
            )
            for label in listed
        ],
        further_labels=sum(rows[label] for label in by_size[MOST_LISTED:])
        + tally.predictions.others
        + tally.truths.others,
        classes=[
            ClassRead(name=each.name, actual=each.actual, predicted=each.predicted)
            for each in (report.texts if report else ())
        ],
        strays=list(report.strays) if report else [],
        positive_label=report.positive if report else None,
        positive_basis=report.basis if report else None,
        problem=report.problem if report else None,
        doubt=report.doubt if report else None,
    )


def version_read(
    name: tuple[str, str], tally: VersionTally, settings: ModelConfig, pane_ms: int, ended_ms: int
) -> VersionRead:
    """The predictions of a model version.

    Parameters
    ----------
    pane_ms
        Length of a pane in ms.
    ended_ms
        Event time in ms at which the log ends, misdated rows apart.
    """
    first_ms, last_ms = tally.times.first_ms or 0, tally.times.last_ms
    return VersionRead(
        model_name=name[0],
        model_version=name[1],
        predictions=tally.rows,
        labelled=tally.delays.total(),
        first_event=format_time(first_ms),
        last_event=format_time(last_ms),
        days=len(tally.times.days),
        per_day=median_per_day(tally.times),
        with_label=tally.with_label,
        with_score=tally.scores,
        score_low=tally.score_low if tally.scores else None,
        score_high=tally.score_high if tally.scores else None,
        delays=_delays(tally, settings) if tally.delays else None,
        windows=[
            WindowRead(
                window=window.name,
                whole=whole_windows(window, first_ms, min(last_ms, ended_ms), pane_ms),
            )
            for window in sorted(settings.windows, key=lambda window: window.size_ms)
        ],
        features=[
            _feature(feature, tally.features[feature], tally.rows)
            for feature in sorted(tally.features)
        ],
        further_features=tally.further_features,
    )


def whole_windows(window: Window, first_ms: int, last_ms: int, pane_ms: int) -> int:
    """Number of windows of a kind that the data cover so far that drift judges them as whole.

    Parameters
    ----------
    first_ms, last_ms
        Times of the first and the last event.

    Examples
    --------
    >>> from driftline.schemas.settings import parse_window
    >>> day = 86_400_000
    >>> whole_windows(parse_window("7d/1d"), 10 * day, 20 * day - 1, 3_600_000)
    4
    """
    step_ms, size_ms = window.step_ms, window.size_ms
    begin_ms = first_ms // pane_ms * pane_ms
    stop_ms = (last_ms // pane_ms + 1) * pane_ms
    # Windows end at multiples of their step; only those around both ends are covered in part.
    first, last = -(-(begin_ms + size_ms) // step_ms), stop_ms // step_ms
    after = -(-(stop_ms + size_ms) // step_ms)
    edges = {*range(begin_ms // step_ms + 1, first), *range(last + 1, after)}
    covered = (
        covered_span(
            end * step_ms - size_ms,
            end * step_ms,
            began_ms=begin_ms,
            ended_ms=last_ms,
            grain_ms=pane_ms,
        )
        for end in edges
    )
    return max(0, last - first + 1) + sum(each.is_whole for each in covered)


def _feature(name: str, tally: FeatureTally, rows: int) -> FeatureRead:
    kind: FeatureKind = "numbers" if not tally.texts else "texts"
    return FeatureRead(
        name=name,
        kind="numbers and texts" if tally.numbers and tally.texts else kind,
        missing_share=1 - (tally.numbers + tally.texts) / rows,
        first_event=format_time(tally.first_ms),
        last_event=format_time(tally.last_ms),
    )


def _delays(tally: VersionTally, settings: ModelConfig) -> Delays:
    bins = np.array(sorted(tally.delays), np.int64)
    counts = np.array([[tally.delays[number] for number in bins.tolist()]], np.int64)
    p50, p90, p99 = (
        min(int(quantiles(bins, counts, np.array(q))[0]), tally.longest_ms)
        for q in (0.5, 0.9, 0.99)
    )
    known = accumulate(tally.rungs[rung.name] for rung in settings.maturity)
    return Delays(
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=tally.longest_ms,
        no_delay=tally.delays[0] / tally.delays.total(),
        horizon_ms=settings.label_horizon_ms,
        within=[
            WithinRung(maturity=rung.name, share=n / tally.delays.total())
            for rung, n in zip(settings.maturity, known, strict=True)
        ],
    )
