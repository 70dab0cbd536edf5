"""Score bins: the documented layout, and figures from bins against scikit-learn on exact scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn

from driftline.streams.decide.tuner.best_threshold import (
    best_edge,
    cells_by_edge,
    resolution_error,
)
from driftline.streams.decide.tuner.objectives.f1 import F1Objective
from driftline.streams.intervals import Floats
from driftline.streams.measure.counts.packed_key import B_BITS
from driftline.streams.metrics.brier import Brier
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.roc_auc import MOST_ERROR, RocAuc
from driftline.streams.metrics.score_cells import ScoreCells
from driftline.streams.score_bins import (
    BIN_TEXTS,
    EDGES,
    MIDDLES,
    SCORE_BINS,
    SUM_UNITS,
    bin_numbers,
    bins_of,
    edge_of,
    sum_units,
    units_of,
)
from tests.oracle.figures import score_bin

Draw = Callable[[np.random.Generator, NDArray[np.bool_], float], Floats]


def logit(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), np.float64)


def separated(rng: np.random.Generator, actual: NDArray[np.bool_]) -> Floats:
    return rng.normal(size=len(actual)) + 1.5 * actual


SHAPES: dict[str, Draw] = {
    "logistic": lambda rng, y, base: logit(1.5 * separated(rng, y) + np.log(base / (1 - base))),
    "overconfident": lambda rng, y, base: logit(6 * separated(rng, y) - 4),
    "beta": lambda rng, y, base: np.where(y, rng.beta(3, 2, len(y)), rng.beta(2, 5, len(y))),
    "beta of a rare event": lambda rng, y, base: rng.beta(0.7 + 0.8 * y, 1 / base),
    "rare events and 32-bit floats": lambda rng, y, base: (
        logit(1.5 * separated(rng, y) + np.log(base)).astype(np.float32).astype(np.float64)
    ),
    "three decimals": lambda rng, y, base: np.round(logit(separated(rng, y)), 3),
    "a tenth": lambda rng, y, base: 0.45 + 0.1 * logit(separated(rng, y)),
    "below 0.0001": lambda rng, y, base: 1e-4 * logit(separated(rng, y)),
    "close to 1": lambda rng, y, base: 1 - 1e-4 * logit(-separated(rng, y)),
    "constant": lambda rng, y, base: np.full(len(y), 0.37),
    "two points": lambda rng, y, base: np.where(separated(rng, y) > 1, 0.8, 0.2),
    "0 and 1": lambda rng, y, base: np.where(separated(rng, y) > 1, 1.0, 0.0),
    # Those that the bins cannot follow.
    "two hundredths": lambda rng, y, base: 0.49 + 0.02 * logit(separated(rng, y)),
    "a hundred-thousandth": lambda rng, y, base: 0.3 + 1e-5 * logit(separated(rng, y)),
    "twelve leaves": lambda rng, y, base: (np.rint(12 * logit(separated(rng, y))) + 0.37) / 13,
}
WITHHELD = ("two hundredths", "a hundred-thousandth", "twelve leaves")
BASES = (0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)


def drawn(shape: str, base: float) -> tuple[NDArray[np.bool_], Floats]:
    """Labels and scores; 20 positives at least."""
    n = 100_000 if base >= 1e-3 else 400_000
    rng = np.random.default_rng(11)
    actual = np.zeros(n, np.bool_)
    actual[: max(round(base * n), 20)] = True
    return actual, np.clip(SHAPES[shape](rng, actual, base), 0, 1)


def counts_of(actual: NDArray[np.bool_], scores: Floats) -> Counts:
    """The counts of one series with these rows, all predicted negative."""
    parts = sum_units(units_of(scores))
    squares = (parts * parts + SUM_UNITS // 2) // SUM_UNITS
    sums = [[int(column[actual == label].sum()) for label in (0, 1)] for column in (parts, squares)]
    return Counts(
        labels=("no", "yes"),
        positive=1,
        matrix=np.array([[[(~actual).sum(), 0], [actual.sum(), 0]]]),
        n_predictions=np.array([len(actual)]),
        score_cells=ScoreCells.of_scores(scores, actual),
        score_sum=np.array([sums[0]]),
        score_squares=np.array([sums[1]]),
    )


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_roc_auc_is_that_of_the_exact_scores_or_withheld(shape: str, base: float) -> None:
    actual, scores = drawn(shape, base)
    counts = counts_of(actual, scores)
    exact = float(sklearn.roc_auc_score(actual, scores))
    # The share of pairs with two different scores in one bin, by the slow definition.
    bins = bins_of(units_of(scores))
    pairs = np.bincount(bins[actual], minlength=SCORE_BINS).astype(float) * np.bincount(
        bins[~actual], minlength=SCORE_BINS
    )
    bound = pairs[1::2].sum() / 2 / (actual.sum() * (~actual).sum())
    (value,) = RocAuc().value(counts).tolist()
    if shape in WITHHELD:
        assert np.isnan(value)
        (reason,) = RocAuc().null_reasons(counts, np.array([0]))
        assert reason.startswith(f"scores are too close together: {2 * bound:.1%} of the pairs")
        assert bound > MOST_ERROR
        return
    assert abs(value - exact) <= min(0.001, bound + 1e-9)
    low, high = (float(limit[0]) for limit in RocAuc().interval(counts) or ())
    assert 0 <= low <= max(value - bound, 0)
    assert min(value + bound, 1) <= high <= 1


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_brier_score_is_that_of_the_exact_scores(shape: str, base: float) -> None:
    actual, scores = drawn(shape, base)
    exact = sklearn.brier_score_loss(actual, scores)
    assert Brier().value(counts_of(actual, scores))[0] == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_f1_at_the_best_edge_is_that_of_its_rows_and_close_to_the_best_of_all(
    shape: str, base: float
) -> None:
    actual, scores = drawn(shape, base)
    edges = bins_of(units_of(scores)) // 2
    negatives, positives = (
        np.bincount(edges[actual == label], minlength=len(EDGES)) for label in (False, True)
    )
    edge = best_edge(negatives, positives, F1Objective(), near=0, highest=len(EDGES) - 1)
    assert edge is not None
    tn, fp, fn, tp = (int(cells[edge]) for cells in cells_by_edge(negatives, positives))
    predicted = scores >= EDGES[edge]
    assert (tn, fp) == (int((~predicted & ~actual).sum()), int((predicted & ~actual).sum()))
    assert (fn, tp) == (int((~predicted & actual).sum()), int((predicted & actual).sum()))
    precision, recall, _ = sklearn.precision_recall_curve(actual, scores)
    best = float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())
    f1 = 2 * tp / (2 * tp + fp + fn)
    error = resolution_error(negatives, positives, F1Objective(), edge)
    assert error is not None
    assert f1 - 1e-12 <= best <= f1 + error + 1e-12
    # A score of 1e-4 is not resolved further than to 1e-6: the best threshold costs 0.0027 of F1.
    if shape not in (*WITHHELD, "below 0.0001") and actual.sum() >= 1_000:
        assert best - f1 <= 0.001


@given(st.one_of(st.floats(0, 1), st.integers(0, 1000).map(lambda k: k / 1000), st.floats(0, 1e-6)))
@example(0.0)
@example(5e-324)
@example(1.0)
@example(1 - 2**-53)
@example(0.1 + 0.2)
@example(0.05)
@example(0.95)
@example(9.99999999e-9)
def test_bins_are_those_of_the_slow_definition(score: float) -> None:
    (number,) = bins_of(units_of(np.array([score]))).tolist()
    assert BIN_TEXTS[number] == score_bin(score)
    assert bin_numbers([score_bin(score)]) == [number]


def test_every_thousandth_is_an_edge_and_bins_fit_their_bits() -> None:
    thousandths = np.arange(1001) / 1000
    assert (bins_of(units_of(thousandths)) % 2 == 0).all()
    assert [float(EDGES[edge_of(value)]) for value in thousandths] == thousandths.tolist()
    assert (SCORE_BINS, 1 << B_BITS) == (7605, 8192)
    assert (np.diff(MIDDLES) > 0).all()
    np.testing.assert_allclose(EDGES, 1 - EDGES[::-1], atol=1e-16)


def test_gaps_are_at_most_a_two_thousandth_and_relatively_narrow_at_both_ends() -> None:
    widths = np.diff(EDGES)
    assert widths.max() <= 0.0005 + 1e-12
    small = (EDGES[:-1] >= 1e-7) & (EDGES[:-1] < 0.5)
    assert (widths[small] / EDGES[:-1][small]).max() <= 0.0251


def test_unknown_bin_is_an_error_with_its_text() -> None:
    with pytest.raises(ValueError, match="no score bin '417'"):
        bin_numbers(["0.5", "417"])


@pytest.mark.parametrize("seed", range(3))
def test_cells_do_not_depend_on_how_rows_are_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, actual, n = rng.beta(0.5, 3, 500), rng.random(500) < 0.3, 500
    one, series = np.ones(n, np.int64), rng.integers(0, 3, n)
    bins = bins_of(units_of(scores))
    whole = ScoreCells.of(3, series, bins, actual, one)
    order = rng.permutation(n)
    # The rows twice, one of them taken back.
    place = np.concatenate([order, order, np.arange(n)])
    sign = np.concatenate([one, one, -one])
    again = ScoreCells.of(3, series[place], bins[place], actual[place], sign)
    for name in ("series", "bins", "negatives", "positives"):
        assert (getattr(whole, name) == getattr(again, name)).all()
    apart = ScoreCells.joined([(whole, number) for number in range(3)])
    assert (apart.series == whole.series).all()
