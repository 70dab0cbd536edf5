"""Answers about scores: histograms by class, and what each threshold would give."""

from __future__ import annotations

from driftline.agents.serve.answers.answer import Answer
from driftline.agents.serve.answers.figures import SeriesName
from driftline.schemas.times import EpochMs


class ScoreHistogram(Answer):
    """Counts of the scores of one class; shape (B,), in the order of `Scores.edges`."""

    label: str
    counts: list[int]


class AtThreshold(Answer):
    """What thresholds give, shape (T,): rows with a score of at least the threshold are flagged.

    Attributes
    ----------
    threshold
        In rising order; a number of them that a slider can show, with those in force and proposed.
    tn, fp, fn, tp
        Counts.
    precision, recall, f1
        With 95 % intervals `*_low` and `*_high` as of independent rows; null where undefined.
    flagged_share
        Share of the rows that are flagged.
    """

    threshold: list[float]
    tn: list[int]
    fp: list[int]
    fn: list[int]
    tp: list[int]
    precision: list[float | None]
    precision_low: list[float | None]
    precision_high: list[float | None]
    recall: list[float | None]
    recall_low: list[float | None]
    recall_high: list[float | None]
    f1: list[float | None]
    f1_low: list[float | None]
    f1_high: list[float | None]
    flagged_share: list[float]


class Calibration(Answer):
    """Share of positives among rows of similar scores, in up to 20 groups of equal size.

    Attributes
    ----------
    score
        Mean score of the group, from the edges of the bins.
    share, low, high
        Share of positives, and its 95 % interval.
    n
        Rows of the group.
    """

    score: list[float]
    share: list[float]
    low: list[float]
    high: list[float]
    n: list[int]


class ProposedThreshold(Answer):
    """The threshold of the newest open recommendation."""

    threshold: float
    recommendation_id: str
    at_ms: EpochMs
    reason: str


class Scores(Answer):
    """Score histograms of a window, or of several windows added up.

    Attributes
    ----------
    rows
        "fit", the half of the rows that thresholds are chosen on; "holdout", the half that judges
        them; or "all".
    window_start_ms, window_end_ms
        From the start of the first to the end of the last window that was added up.
    n_windows
        Number of windows that were added up.
    n
        Labelled rows with a score, of these windows.
    edges
        Shape (B + 1,): bin b has the scores from edge b up to edge b + 1, the last bin both.
    histograms
        One for each class.
    at_threshold
        Null unless the model has two classes and the positive one is known; `null_reason` says why.
    roc_fpr, roc_tpr, pr_recall, pr_precision
        Points of the curves, from the highest threshold to the lowest; empty like `at_threshold`.
    roc_auc, average_precision
        Areas below the curves, at the resolution of the bins.
    threshold
        In force, by the registry; null if none is registered.
    """

    series: SeriesName
    rows: str
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    n_windows: int
    n: int
    final: bool
    labels: list[str]
    positive_label: str | None
    edges: list[float]
    histograms: list[ScoreHistogram]
    at_threshold: AtThreshold | None
    null_reason: str | None
    roc_fpr: list[float]
    roc_tpr: list[float]
    pr_recall: list[float]
    pr_precision: list[float | None]
    roc_auc: float | None
    average_precision: float | None
    calibration: Calibration | None
    threshold: float | None
    proposed: ProposedThreshold | None
