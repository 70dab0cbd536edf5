"""Counts of the decoded rows that pass through stage 1: by topic, model and model version.

The memory is bounded by the number of versions, their features and labels, and the days with rows.
What the counts say is `described.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np

from driftline.schemas.labels import MAX_FEATURES
from driftline.schemas.results import Outcome
from driftline.schemas.times import DAY_MS
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.columns import Indexes, PredictionColumns
from driftline.streams.named_columns import NO_WORD, Named
from driftline.streams.stage import Batch
from driftline.streams.summaries.loglinear import bin_of

MOST_TEXTS: Final = 10_000
"""Labels of a side of a model that are counted by their text; others are counted together."""


class DayCounts(msgspec.Struct):
    """Rows by day, and the span of their event times in ms."""

    days: Counter[int] = msgspec.field(default_factory=Counter)
    first_ms: int | None = None
    last_ms: int = 0

    def add(self, times: Indexes) -> None:
        """Add rows, shape (N,)."""
        if not len(times):
            return
        first_ms = int(times.min())
        self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        self.last_ms = max(self.last_ms, int(times.max()))
        days, counts = np.unique(times // DAY_MS, return_counts=True)
        self.days.update(dict(zip(days.tolist(), counts.tolist(), strict=True)))


class TextCounts(msgspec.Struct):
    """Rows by label, of at most MOST_TEXTS labels, and rows with others."""

    rows: Counter[str] = msgspec.field(default_factory=Counter)
    others: int = 0

    def add(self, text: str, rows: int) -> None:
        """Add rows of one label."""
        if text in self.rows or len(self.rows) < MOST_TEXTS:
            self.rows[text] += rows
        else:
            self.others += rows


class FeatureTally(msgspec.Struct):
    """Values of one feature, and the event times in ms of the first and last row with one."""

    numbers: int = 0
    texts: int = 0
    first_ms: int = 1 << 62
    last_ms: int = 0


class VersionTally(msgspec.Struct):
    """Rows of one model version.

    Attributes
    ----------
    delays, longest_ms
        First truths of its predictions by log-linear bin of their delay in ms, and the longest one.
    rungs
        The same by the first rung of the maturity ladder that has them.
    further_features
        Number of values of features beyond the first MAX_FEATURES.
    """

    rows: int = 0
    with_label: int = 0
    scores: int = 0
    score_low: float = np.inf
    score_high: float = -np.inf
    times: DayCounts = msgspec.field(default_factory=DayCounts)
    delays: Counter[int] = msgspec.field(default_factory=Counter)
    longest_ms: int = 0
    rungs: Counter[str] = msgspec.field(default_factory=Counter)
    features: dict[str, FeatureTally] = {}
    further_features: int = 0

    def add(self, rows: PredictionColumns) -> None:
        """Add rows of this version."""
        self.rows += len(rows)
        self.with_label += int(np.count_nonzero(rows.label >= 0))
        self.times.add(rows.timestamp_ms)
        scores = rows.score[~np.isnan(rows.score)]
        if len(scores):
            self.scores += len(scores)
            self.score_low = min(self.score_low, float(scores.min()))
            self.score_high = max(self.score_high, float(scores.max()))
        self._add_features(rows.features, rows.timestamp_ms)

    def _add_features(self, named: Named, times: Indexes) -> None:
        for names, values, is_text in (
            (named.numeric, ~np.isnan(named.numbers), False),
            (named.textual, named.texts != NO_WORD, True),
        ):
            for name, present in zip(names, values, strict=True):
                self._add_values(name, times[present], is_text=is_text)
        few = named.few
        for number, name in enumerate(few.names):
            of_name = few.name == number
            for is_text in (False, True):
                at = of_name & ((few.text != NO_WORD) == is_text)
                self._add_values(name, times[few.row[at]], is_text=is_text)

    def _add_values(self, name: str, times: Indexes, *, is_text: bool) -> None:
        if not len(times):
            return
        tally = self.features.get(name)
        if tally is None:
            if len(self.features) >= MAX_FEATURES:
                self.further_features += len(times)
                return
            tally = self.features[name] = FeatureTally()
        if is_text:
            tally.texts += len(times)
        else:
            tally.numbers += len(times)
        tally.first_ms = min(tally.first_ms, int(times.min()))
        tally.last_ms = max(tally.last_ms, int(times.max()))


class ModelTally(msgspec.Struct):
    """Labels of one model as they are written."""

    predictions: TextCounts = msgspec.field(default_factory=TextCounts)
    truths: TextCounts = msgspec.field(default_factory=TextCounts)


class Tallies:
    """All rows of a log.

    Attributes
    ----------
    topics
        Event times by topic.
    versions, models
        By name and version, and by name.
    """

    def __init__(self) -> None:
        self.topics = {topic: DayCounts() for topic in (PREDICTIONS, GROUND_TRUTH)}
        self.versions: dict[tuple[str, str], VersionTally] = defaultdict(VersionTally)
        self.models: dict[str, ModelTally] = defaultdict(ModelTally)

    def add_batch(self, batch: Batch) -> None:
        """Add the valid rows of a batch of stage 1."""
        if batch.predictions is not None:
            self.topics[PREDICTIONS].add(batch.predictions.timestamp_ms)
            self._add_predictions(batch.predictions)
        if batch.ground_truth is not None:
            self.topics[GROUND_TRUTH].add(batch.ground_truth.timestamp_ms)

    def _add_predictions(self, rows: PredictionColumns) -> None:
        for number in np.unique(rows.name).tolist():
            name = rows.names[number]
            at = np.flatnonzero(rows.name == number)
            own = rows if len(at) == len(rows) else rows.take(at)
            self.versions[name].add(own)
            labels = np.bincount(own.label[own.label >= 0], minlength=len(own.labels))
            for code in np.flatnonzero(labels).tolist():
                self.models[name[0]].predictions.add(own.labels[code], int(labels[code]))

    def add_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Add the predictions that have met their first truth."""
        delays: dict[tuple[str, str], list[int]] = defaultdict(list)
        for outcome in outcomes:
            if outcome.correction is not None:
                continue
            name = outcome.model_name, outcome.model_version
            delays[name].append(outcome.delay_ms)
            if outcome.maturity is not None:
                self.versions[name].rungs[outcome.maturity] += 1
            if outcome.label is not None:
                self.models[outcome.model_name].truths.add(outcome.label, 1)
        for name, of_version in delays.items():
            version = self.versions[name]
            version.longest_ms = max(version.longest_ms, *of_version)
            version.delays.update(bin_of(np.array(of_version, np.int64)).tolist())
