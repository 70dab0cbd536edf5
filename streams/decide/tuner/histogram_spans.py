"""Score histograms of consecutive windows, stored until a span of them is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from driftline.schemas.results import Histogram, LostRows
from driftline.streams.decide.tuner.best_threshold import Ints
from driftline.streams.score_bins import EDGES, bin_numbers

Sparse = dict[int, int]


class ScoreBlock(msgspec.Struct, omit_defaults=True):
    """Scores of one window of one version.

    Parameters
    ----------
    start_ms, end_ms
        Start and end of the window.
    fit, holdout
        Counts by score bin of the actual negatives and positives of each half.
    losses
        Lost rows that the window may lack.
    """

    start_ms: int = 0
    end_ms: int = 0
    fit: tuple[Sparse, Sparse] = ({}, {})
    holdout: tuple[Sparse, Sparse] = ({}, {})
    losses: list[LostRows] = []


class Scores(msgspec.Struct, frozen=True):
    """Scores of D blocks, each array of shape (D, 2, B): actual negatives and positives from each
    edge to the next.
    """

    fit: Ints
    holdout: Ints

    @property
    def both(self) -> Ints:
        """All rows."""
        return self.fit + self.holdout


def fill(block: ScoreBlock, histogram: Histogram, start_ms: int, end_ms: int) -> None:
    """Fill a block from a histogram with two labels, one of which is positive."""
    negative = next(label for label in histogram.labels if label != histogram.positive_label)

    def half(counts: Mapping[str, Mapping[str, int]]) -> tuple[Sparse, Sparse]:
        first, second = (
            counts.get(label, {}) for label in (negative, str(histogram.positive_label))
        )
        return dict(zip(bin_numbers(first), first.values(), strict=True)), dict(
            zip(bin_numbers(second), second.values(), strict=True)
        )

    block.start_ms, block.end_ms = start_ms, end_ms
    block.fit, block.holdout = half(histogram.fit), half(histogram.holdout)
    block.losses = histogram.losses


def scores_of(blocks: Sequence[ScoreBlock], edges: int = len(EDGES)) -> Scores:
    """Arrays of the blocks by edge: the scores that are equal to it and those in the gap above it.

    Examples
    --------
    >>> scores = scores_of([ScoreBlock(0, 1, fit=({0: 2, 1: 3}, {6: 2}))], 4)
    >>> scores.fit.tolist(), int(scores.holdout.sum())
    ([[[5, 0, 0, 0], [0, 0, 0, 2]]], 0)
    """

    def dense(halves: Sequence[tuple[Sparse, Sparse]]) -> Ints:
        array = np.zeros((len(blocks), 2, edges), dtype=np.int64)
        for place, half in enumerate(halves):
            for label, counts in enumerate(half):
                edge = np.fromiter(counts, np.int64, len(counts)) // 2
                np.add.at(array[place, label], edge, list(counts.values()))
        return array

    return Scores(
        dense([block.fit for block in blocks]), dense([block.holdout for block in blocks])
    )
