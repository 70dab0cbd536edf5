"""Log-linear bins of non-negative integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.summaries.loglinear import BIN_COUNT, bin_bounds, bin_of, quantiles


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50))
def test_a_value_is_inside_its_bin_whose_width_is_at_most_a_64th(values: list[int]) -> None:
    array = np.array(values, dtype=np.int64)
    bins = bin_of(array)
    low, high = bin_bounds(bins)
    assert ((low <= array) & (array <= high)).all()
    assert ((bins >= 0) & (bins < BIN_COUNT)).all()
    for lower, upper, value in zip(low.tolist(), high.tolist(), values, strict=True):
        assert abs((lower + upper) / 2 - value) <= value / 128


def test_bins_are_adjacent() -> None:
    low, high = bin_bounds(np.arange(BIN_COUNT))
    assert low[0] == 0
    assert (low[1:] == high[:-1] + 1).all()
    assert high[-1] == 2**63 - 1
    assert bin_of(low).tolist() == bin_of(high).tolist() == list(range(BIN_COUNT))


def test_negative_values_count_as_zero() -> None:
    assert bin_of(np.array([-5, 0])).tolist() == [0, 0]


def test_quantiles_are_within_a_128th_of_the_order_statistic() -> None:
    rng = np.random.default_rng(1)
    raw = [
        (rng.lognormal(9, 2, 3000)).astype(np.int64),
        (rng.exponential(50, 777)).astype(np.int64),
        np.zeros(0, dtype=np.int64),
    ]
    bins = np.unique(np.concatenate([bin_of(values) for values in raw]))
    counts = np.array([[(bin_of(values) == b).sum() for b in bins] for values in raw])
    for q in (0.0, 0.05, 0.5, 0.95, 0.99, 1.0):
        estimates = quantiles(bins, counts, np.array(q))
        assert np.isnan(estimates[2])
        for value, values in zip(estimates, raw[:2], strict=False):
            exact = np.quantile(values, q, method="inverted_cdf")
            assert abs(value - exact) <= exact / 128
