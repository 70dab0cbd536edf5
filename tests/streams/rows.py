"""Counts from single rows, slow and obvious, for tests of metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftline.streams.metrics.counts import Counts


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
    matrix = np.zeros((series, k, k), dtype=np.int64)
    histograms = np.zeros((2, series, k, 1000), dtype=np.int64)
    sums = np.zeros((2, series, k), dtype=np.int64)
    for s, (truths, predictions) in enumerate(zip(actual, predicted, strict=True)):
        for i, (truth, label) in enumerate(zip(truths, predictions, strict=True)):
            matrix[s, labels.index(truth), labels.index(label)] += 1
            if scores is not None:
                score = scores[s][i]
                histograms[i % 2, s, labels.index(truth), min(int(score * 1000), 999)] += 1
                sums[0, s, labels.index(truth)] += round(score * 1e6)
                sums[1, s, labels.index(truth)] += round(score * score * 1e6)
    return Counts(
        labels=labels,
        positive=(1 if k == 2 else None) if positive is None else positive,
        matrix=matrix,
        n_predictions=np.array([len(truths) + missing for truths in actual], dtype=np.int64),
        score_histogram=histograms.sum(axis=0) if scores is not None else None,
        score_sum=sums[0] if scores is not None else None,
        score_squares=sums[1] if scores is not None else None,
    )


def cells_of(matrix: NDArray[np.int64]) -> Counts:
    """Counts of confusion matrices alone, shape (S, K, K)."""
    k = matrix.shape[1]
    return Counts(
        labels=tuple(f"label {i}" for i in range(k)),
        positive=1 if k == 2 else None,
        matrix=matrix,
        n_predictions=matrix.sum(axis=(1, 2)),
    )
