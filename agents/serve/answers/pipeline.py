"""Answers about the pipeline: delays of truths, traffic, data quality, and health."""

from __future__ import annotations

from typing import Literal

from driftline.agents.serve.answers.answer import Answer
from driftline.agents.serve.answers.figures import SeriesName
from driftline.schemas.times import EpochMs


class DelayStep(Answer):
    """How many truths had come by a rung.

    Attributes
    ----------
    coverage, low, high
        Share of the predictions with a truth by then, and its 95 % interval.
    completeness
        Share of those truths that come in the end.
    n, n_predictions
        Counts over all windows of the span.
    """

    rung: str
    coverage: float | None
    low: float | None
    high: float | None
    completeness: float | None
    n: int
    n_predictions: int


class Delays(Answer):
    """How truths arrive: the delay curve over final windows of a span, and quantiles over time.

    Attributes
    ----------
    steps
        One for each rung, in order; the last one is final.
    never_share
        Share of the predictions whose truth never came.
    p50_seconds, p95_seconds
        Delay of the truths of each window at the last rung, in seconds; shape (W,).
    """

    series: SeriesName
    n_windows: int
    steps: list[DelayStep]
    never_share: float | None
    window_end_ms: list[EpochMs]
    p50_seconds: list[float | None]
    p95_seconds: list[float | None]


class UncountedRows(Answer):
    """Rows that do not count, or not everywhere.

    Attributes
    ----------
    model_name, model_version
        Null where it is not known of which they are.
    topic
        Where they came in.
    reason
        In one word, as in the log of a worker; "stray_label", "never_labelled" and "retracted" are
        of rows that came, and are in no figure of performance.
    example
        The first of them, or the label; null where none is kept.
    is_usual
        Whether nothing is lost by it.
    meaning, remedy
        What decided, and what to do.
    """

    model_name: str | None
    model_version: str | None
    topic: str
    reason: str
    rows: int
    example: str | None
    is_usual: bool
    meaning: str
    remedy: str


class FeatureQuality(Answer):
    """A feature in the newest drift test of missing or unseen values.

    Attributes
    ----------
    method
        "missing" or "unseen".
    current_share, reference_share
        Share of the rows with a missing value, or with one that the reference never had.
    unseen
        The most frequent unseen values, with their number.
    n_current
        Rows of the window.
    """

    model_name: str
    model_version: str
    target: str
    method: str
    window_end_ms: EpochMs
    level: str
    current_share: float | None
    reference_share: float | None
    unseen: dict[str, int]
    n_current: int
    reason: str


class Quality(Answer):
    """Data quality: everything that was not counted, and features with missing or unseen values.

    Attributes
    ----------
    since_ms, until_ms
        Event time of the windows whose counters were added up; null without any. Rejected rows have
        no event time: they are counted since the beginning.
    rejected_note
        Why rejected rows are not listed; null if they are.
    """

    since_ms: EpochMs | None
    until_ms: EpochMs | None
    uncounted: list[UncountedRows]
    features: list[FeatureQuality]
    rejected_note: str | None


class SourceStatus(Answer):
    """Whether the source of the results can be read.

    Attributes
    ----------
    place
        The folder or the broker.
    state
        "following"; "catching_up" while much that is new is taken over; "away" while it cannot be
        read.
    since_ms
        Since when, by the clock of the server.
    problem
        Why it cannot be read; null unless it is away.
    """

    place: str
    state: Literal["following", "catching_up", "away"]
    since_ms: EpochMs
    problem: str | None


class SourceState(SourceStatus):
    """The source of the results, as this server sees it.

    Attributes
    ----------
    checked_at_ms, changed_at_ms
        When it was read last, and when that last gave something new; null before the first time.
    unreadable
        By topic, number of values that are no record of it.
    """

    checked_at_ms: EpochMs | None
    changed_at_ms: EpochMs | None
    unreadable: dict[str, int]


class ModelProgress(Answer):
    """How far figures of a version have come.

    Attributes
    ----------
    frontier_ms
        Event time at which its newest figures are complete.
    lag_seconds
        How far that is behind the version that has come furthest.
    """

    model_name: str
    model_version: str
    frontier_ms: EpochMs
    lag_seconds: float


class TopicProgress(Answer):
    """How far one partition of an output topic was read: bytes of a file, or the next offset."""

    topic: str
    partition: int
    position: int


class PartitionLag(Answer):
    """A partition of an input on the broker.

    Attributes
    ----------
    kind
        Kind of the tasks that read it: "join", or "downstream" for what follows.
    lag
        Records between the committed position and its end.
    """

    kind: str
    topic: str
    partition: int
    lag: int


class Pipeline(Answer):
    """Whether everything is counted.

    Attributes
    ----------
    models
        The one that is furthest behind first.
    partitions
        Of the inputs on a broker, as they were at `partitions_at_ms`; `broker_note` says why they
        are empty.
    topics
        How far this server has read the results.
    index_bytes
        Size of the index of this server.
    """

    source: SourceState
    frontier_ms: EpochMs | None
    models: list[ModelProgress]
    topics: list[TopicProgress]
    partitions: list[PartitionLag]
    partitions_at_ms: EpochMs | None
    broker_note: str | None
    index_bytes: int


class Health(Answer):
    """How the server is.

    Attributes
    ----------
    status
        "ok", or "away" while the source cannot be read: answers are then as old as
        `source.checked_at`.
    version
        Of Driftline.
    listeners
        Number of open event streams.
    """

    status: Literal["ok", "catching_up", "away"]
    version: str
    started_at_ms: EpochMs
    now_ms: EpochMs
    state: str
    listeners: int
    source: SourceState
