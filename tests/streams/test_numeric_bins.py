"""Self-scaling bins: a function of the multiset, close to the raw samples, small when encoded."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from driftline.streams.drift.ks import ks_distance
from driftline.streams.summaries.numeric_bins import (
    EMPTY,
    MAX_BINS,
    BinColumns,
    NumericSummary,
    aligned,
    order_key,
    value_of_key,
)
from tests.streams.summaries import merged

finite = st.floats(allow_nan=False, allow_infinity=False)
Samples = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def samples(seed: int, n: int = 5000, m: int = 2000) -> Samples:
    rng = np.random.default_rng(seed)
    return {
        "normal": (rng.normal(size=n), rng.normal(0.2, 1.1, size=m)),
        "lognormal": (rng.lognormal(size=n), rng.lognormal(0.2, 1.0, size=m)),
        "beta": (rng.beta(2, 5, size=n), rng.beta(2.3, 5, size=m)),
        "Cauchy": (rng.standard_cauchy(n), rng.standard_cauchy(m) + 0.3),
        "integers": (
            rng.integers(0, 2000, n).astype(float),
            rng.integers(100, 2100, m).astype(float),
        ),
        "1013 +- 1": (rng.normal(1013, 1, n), rng.normal(1013.2, 1, m)),
        "epoch seconds": (rng.uniform(1.70e9, 1.71e9, n), rng.uniform(1.701e9, 1.711e9, m)),
    }


@given(st.lists(finite, min_size=2, max_size=50))
def test_keys_have_the_order_of_the_floats_and_can_be_inverted(values: list[float]) -> None:
    array = np.sort(np.array(values))
    keys = order_key(array)
    for (a, b), (key_a, key_b) in zip(
        pairwise(array.tolist()), pairwise(keys.tolist()), strict=True
    ):
        assert (a < b) == (key_a < key_b)
        assert (a == b) == (key_a == key_b)
    assert value_of_key(keys).tolist() == array.tolist()


def test_minus_zero_is_zero() -> None:
    assert NumericSummary.of(np.array([-0.0, 0.0])).counts.tolist() == [2]


def test_at_most_512_distinct_values_are_kept_exactly() -> None:
    rng = np.random.default_rng(1)
    distinct = rng.normal(size=512) * 1e6
    summary = NumericSummary.of(rng.choice(np.concatenate((distinct, distinct)), 5000))
    assert summary.shift == 0
    assert set(summary.mid.tolist()) <= set(distinct.tolist())
    assert summary.low.tolist() == summary.high.tolist() == summary.mid.tolist()


def test_shift_is_the_smallest_that_leaves_512_bins() -> None:
    for name, (values, _) in samples(2).items():
        summary = NumericSummary.of(values)
        keys = order_key(values)
        assert len(np.unique(keys >> summary.shift)) == len(summary.keys) <= MAX_BINS, name
        assert summary.shift == 0 or len(np.unique(keys >> (summary.shift - 1))) > MAX_BINS, name


@pytest.mark.parametrize("name", samples(0))
def test_result_depends_on_the_multiset_alone_for_random_orders_splits_and_merge_trees(
    name: str,
) -> None:
    first, second = samples(3, 1500, 700)[name]
    # A few far values, extremes and repeats: they force shifts in the middle of a merge tree.
    values = np.concatenate(
        (first, second, first[:200], [0.0, -0.0, 1e300, -1e300, 5e-324, -5e-324])
    )
    whole = NumericSummary.of(values)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        parts = np.array_split(
            rng.permutation(values), np.sort(rng.integers(0, len(values), rng.integers(0, 12)))
        )
        heap = [NumericSummary.of(part) for part in parts]
        while len(heap) > 1:
            parts_ = [
                heap.pop(int(rng.integers(len(heap))))
                for _ in range(min(len(heap), int(rng.integers(2, 5))))
            ]
            heap.append(merged(parts_))
        assert heap[0] == whole, f"seed {seed}"


@given(st.lists(st.tuples(finite, st.integers(0, 3)), max_size=60))
def test_grouped_builder_equals_one_summary_per_group(rows: list[tuple[float, int]]) -> None:
    values, groups = (
        np.array([value for value, _ in rows]),
        np.array([group for _, group in rows], dtype=np.int64),
    )
    assert BinColumns.of(values, groups, 5).summaries() == [
        NumericSummary.of(values[groups == group]) for group in range(5)
    ]


def test_grouped_builder_ignores_missing_values_and_equals_single_summaries_on_many_values() -> (
    None
):
    rng = np.random.default_rng(4)
    values = np.concatenate([pair[0] for pair in samples(4).values()])
    values[rng.random(len(values)) < 0.1] = np.nan
    groups = rng.integers(0, 9, len(values))
    expected = [
        NumericSummary.of(values[(groups == group) & ~np.isnan(values)]) for group in range(9)
    ]
    before = values.copy(), groups.copy()
    assert BinColumns.of(values, groups, 9).summaries() == expected
    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(groups, before[1])


def test_many_summaries_of_a_narrow_range_add_up_to_the_summary_of_all_values() -> None:
    rng = np.random.default_rng(5)
    parts = [rng.integers(0, 1000, 3000).astype(float) for _ in range(40)]
    assert merged([NumericSummary.of(part) for part in parts]) == NumericSummary.of(
        np.concatenate(parts)
    )


def test_empty_summary_is_the_sum_of_none_and_the_identity() -> None:
    summary = NumericSummary.of(np.array([1.0, 2.0]))
    assert merged([]) == merged([EMPTY, EMPTY]) == EMPTY
    assert merged([EMPTY, summary]) == merged([summary, EMPTY]) == summary
    assert EMPTY.total == 0
    assert np.isnan(EMPTY.quantiles(np.array([0.5])))[0]
    assert EMPTY.counts_at(np.array([1.0])).tolist() == [0, 0]


def test_summary_of_counts_equals_the_summary_of_the_repeated_values() -> None:
    values, counts = np.array([3.0, -1.0, 7.0]), np.array([2, 5, 0])
    assert NumericSummary.of_counts(values, counts) == NumericSummary.of(np.repeat(values, counts))
    fixed = (np.arange(1000) + 0.5) / 1000
    assert NumericSummary.of_counts(fixed, np.full(1000, 3)) == NumericSummary.of(
        np.repeat(fixed, 3)
    )


@pytest.mark.parametrize("name", samples(0))
def test_distances_on_5000_against_2000_rows_are_close_to_scipy(name: str) -> None:
    runs = 20
    ks_errors, wasserstein_errors = np.zeros(runs), np.zeros(runs)
    for seed in range(runs):
        reference, current = samples(10 + seed)[name]
        a, b = NumericSummary.of(reference), NumericSummary.of(current)
        middles, p, q = aligned(a, b)
        exact = stats.ks_2samp(reference, current, method="asymp").statistic
        ks_errors[seed] = exact - ks_distance(a, b)
        # Whatever the values: the distance at the edges of the bins is part of the exact one, which
        # moves on by at most one bin's share.
        assert -1e-12 <= ks_errors[seed] <= max((p / p.sum()).max(), (q / q.sum()).max())
        exact = stats.wasserstein_distance(reference, current)
        wasserstein_errors[seed] = (
            abs(stats.wasserstein_distance(middles, middles, p, q) - exact) / exact
        )
    print(
        f"{name}, {runs} runs: KS off by {ks_errors.mean():.5f}, at most {ks_errors.max():.5f}; "
        f"Wasserstein by {wasserstein_errors.mean():.3%}, at most {wasserstein_errors.max():.3%}"
    )
    assert ks_errors.mean() <= 0.002
    assert wasserstein_errors.mean() <= 0.015


def test_quantiles_are_within_the_bin_of_the_order_statistic() -> None:
    q = np.array([0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0])
    for name, (values, _) in samples(6).items():
        summary = NumericSummary.of(values)
        exact = np.quantile(values, q, method="inverted_cdf")
        estimates = summary.quantiles(q)
        for value, target in zip(estimates, exact, strict=True):
            bin_of = int(np.searchsorted(summary.mid, value))
            assert summary.low[bin_of] <= target <= summary.high[bin_of], name


def test_counts_between_cuts_equal_the_raw_counts_where_bins_are_exact() -> None:
    values = np.random.default_rng(7).integers(-50, 50, 3000).astype(float)
    cuts = np.array([-20.0, 0.0, 0.5, 30.0])
    expected = np.bincount(np.searchsorted(cuts, values, side="left"), minlength=5)
    assert NumericSummary.of(values).counts_at(cuts).tolist() == expected.tolist()


@pytest.mark.parametrize("name", samples(0))
def test_plain_form_restores_the_summary(name: str) -> None:
    summary = NumericSummary.of(np.concatenate((samples(8)[name][0], [1e300, -1e300])))
    assert NumericSummary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary
    assert NumericSummary.from_dict(EMPTY.to_dict()) == EMPTY


@given(st.lists(finite, max_size=40), st.integers(0, 63))
def test_any_shift_survives_the_plain_form(values: list[float], shift: int) -> None:
    summary = NumericSummary.of(np.array(values)).coarser(shift)
    assert NumericSummary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary
