"""Intervals against SciPy and hand calculation, and their coverage of 95 %."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from driftline.streams.intervals import (
    divided,
    poisson_score,
    quantile_ranks,
    square_and_add,
    wilson,
    wilson_from_variance,
)


def test_wilson_equals_scipy() -> None:
    rng = np.random.default_rng(1)
    trials = rng.integers(1, 3000, 200)
    successes = rng.integers(0, trials + 1)
    low, high = wilson(successes, trials)
    for x, n, lower, upper in zip(successes.tolist(), trials.tolist(), low, high, strict=True):
        expected = stats.binomtest(x, n).proportion_ci(method="wilson")
        assert (lower, upper) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_observations_give_nan_without_a_warning() -> None:
    nothing = np.zeros(1, dtype=np.int64)
    limits = (*wilson(nothing, nothing), *quantile_ranks(0.5, nothing), divided(nothing, nothing))
    assert all(np.isnan(limit).all() for limit in limits)
    unknown = np.array([[np.nan, np.nan]])
    assert np.isnan(square_and_add(unknown, unknown, unknown, np.zeros((1, 2)))).all()
    assert np.isnan(wilson_from_variance(np.array([np.nan]), np.array([0.0]), nothing)).all()


def test_variance_of_a_proportion_gives_wilsons_interval() -> None:
    share, n = np.array([0.2, 0.9]), np.array([50, 400])
    np.testing.assert_allclose(
        wilson_from_variance(share, share * (1 - share) / n, n), wilson(share * n, n)
    )


def test_estimate_without_variance_has_an_interval() -> None:
    low, high = wilson_from_variance(np.array([1.0]), np.array([0.0]), np.array([30]))
    assert low[0] < 0.9
    assert high[0] == 1.0


def test_poisson_limits_solve_the_score_equation() -> None:
    low, high = poisson_score(np.array([0, 7, 400]))
    for count, lower, upper in zip((0, 7, 400), low, high, strict=True):
        assert (count - upper) ** 2 == pytest.approx(1.959963984540054**2 * upper)
        assert lower == 0 or (count - lower) ** 2 == pytest.approx(1.959963984540054**2 * lower)


@pytest.mark.parametrize(("q", "n"), [(0.5, 60), (0.95, 400), (0.99, 3000)])
def test_order_statistics_cover_the_true_quantile(q: float, n: int) -> None:
    runs = 4000
    values = np.sort(np.random.default_rng(2).random((runs, n)), axis=1)
    low, high = (float(rank[0]) for rank in quantile_ranks(q, np.array([n])))
    lower, upper = (
        values[:, max(int(np.ceil(low * n)), 1) - 1],
        values[:, max(int(np.ceil(high * n)), 1) - 1],
    )
    coverage = float(((lower <= q) & (q <= upper)).mean())
    print(f"quantile {q} of {n} rows, {runs} runs: the interval covers the truth in {coverage:.3f}")
    assert coverage >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
