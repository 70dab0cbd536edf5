"""Counts from single rows, slow and obvious, for tests of metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.score_cells import ScoreCells
from driftline.streams.score_bins import bins_of, units_of


def counts_of(
    actual: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    labels: tuple[str, ...],
    scores: Sequence[Sequence[float]] | None = None,
    missing: int = 0,
    positive: int | None = None,
) -> Counts:
    """Counts with one series per inner sequence.

    Each series has `missing` predictions without truth. The greater of two labels is positive.
    """
    series, k = len(actual), len(labels)
    yes = (1 if k == 2 else None) if positive is None else positive
    matrix = np.zeros((series, k, k), dtype=np.int64)
    cells: list[tuple[int, float, bool]] = []
    sums = np.zeros((2, series, k), dtype=np.int64)
    for s, (truths, predictions) in enumerate(zip(actual, predicted, strict=True)):
        for i, (truth, label) in enumerate(zip(truths, predictions, strict=True)):
            matrix[s, labels.index(truth), labels.index(label)] += 1
            if scores is not None:
                score = scores[s][i]
                cells.append((s, score, labels.index(truth) == yes))
                sums[0, s, labels.index(truth)] += round(score * 1e6)
                sums[1, s, labels.index(truth)] += round(score * score * 1e6)
    return Counts(
        labels=labels,
        positive=yes,
        matrix=matrix,
        n_predictions=np.array([len(truths) + missing for truths in actual], dtype=np.int64),
        score_cells=score_cells(series, cells) if scores is not None else None,
        score_sum=sums[0] if scores is not None else None,
        score_squares=sums[1] if scores is not None else None,
    )


def score_cells(series: int, rows: Sequence[tuple[int, float, bool]]) -> ScoreCells:
    """Score histograms of rows of (series, score, is positive)."""
    number, score, is_positive = (np.array(column) for column in zip(*rows, strict=True))
    bins = bins_of(units_of(score))
    return ScoreCells.of(series, number, bins, is_positive, np.ones(len(rows), np.int64))


def cells_of(matrix: NDArray[np.int64]) -> Counts:
    """Counts of confusion matrices alone, shape (S, K, K)."""
    k = matrix.shape[1]
    return Counts(
        labels=tuple(f"label {i}" for i in range(k)),
        positive=1 if k == 2 else None,
        matrix=matrix,
        n_predictions=matrix.sum(axis=(1, 2)),
    )
