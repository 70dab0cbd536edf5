"""Drift tests against SciPy, their false-alarm rates without drift, and their power for real
shifts.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from driftline.streams.drift.comparison import DriftResult, level_of
from driftline.streams.drift.effective_size import as_in_reference, effective_size, inflation
from driftline.streams.drift.false_discovery import adjust, adjusted
from driftline.streams.drift.ks import KolmogorovSmirnov, ks_distance
from driftline.streams.drift.psi import PopulationStabilityIndex, psi
from driftline.streams.drift.reference_groups import NumericGroups, counts_by_pane, grouped
from driftline.streams.drift.tail_probabilities import chi_squared_tail, kolmogorov_tail
from driftline.streams.summaries.numeric_bins import EMPTY, BinColumns, NumericSummary
from driftline.streams.summaries.text_summary import StringSummary
from tests.streams.summaries import merged, summed

KS, PSI = KolmogorovSmirnov(), PopulationStabilityIndex()


def numbers(values: NDArray[np.float64] | NDArray[np.int64]) -> NumericSummary:
    return NumericSummary.of(np.asarray(values, dtype=np.float64))


def compared(result: DriftResult | None) -> DriftResult:
    assert result is not None
    return result


def test_tail_probabilities_equal_scipy() -> None:
    for degrees in (1, 2, 3, 8, 9, 20, 41):
        for x in (0.0, 1e-3, 0.5, 3.0, degrees, 3.0 * degrees, 200.0):
            assert chi_squared_tail(x, degrees) == pytest.approx(
                stats.chi2.sf(x, degrees), rel=1e-9
            )
    for x in (0.0, 0.05, 0.3, 0.7, 0.999, 1.0, 1.3580986, 2.5, 6.0):
        assert kolmogorov_tail(x) == pytest.approx(stats.kstwobign.sf(x), rel=1e-9, abs=1e-12)


def test_psi_is_the_sum_over_groups() -> None:
    p, q = np.array([90, 10, 0]), np.array([40, 50, 10])
    shares_p, shares_q = (p + 0.5) / 101.5, (q + 0.5) / 101.5
    assert psi(p, q) == pytest.approx(
        sum((b - a) * np.log(b / a) for a, b in zip(shares_p, shares_q, strict=True))
    )
    assert psi(p, p) == 0.0
    with pytest.raises(ValueError, match="the reference has 3 groups, the current side 2"):
        psi(p, q[:2])


def test_ks_equals_scipy_where_bins_are_exact() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        a, b = rng.integers(0, 300, 400), rng.integers(seed, 300, 150)
        expected = stats.ks_2samp(a, b, method="asymp")
        result = compared(KS.compare(numbers(a), numbers(b)))
        assert result.statistic == pytest.approx(expected.statistic)
        # SciPy's asymptotic p-value has another correction for small samples.
        assert result.p_value == pytest.approx(expected.pvalue, abs=0.02)


def test_level_is_the_lower_of_significance_and_effect() -> None:
    cutoffs = (0.05, 0.1, 0.2)
    expected = {
        (0.2, 0.9): "none",
        (0.049, 0.9): "mild",
        (0.009, 0.9): "moderate",
        (1e-4, 0.9): "severe",
    }
    expected |= {
        (1e-4, 0.049): "none",
        (1e-4, 0.05): "mild",
        (1e-4, 0.1): "moderate",
        (1e-4, 0.2): "severe",
        (0.049, 0.1): "mild",
    }
    assert {key: level_of(*key, cutoffs) for key in expected} == expected


def test_trivial_shift_in_a_huge_sample_is_no_drift() -> None:
    reference, current = (
        numbers(np.arange(1_000_000) / 1e6),
        numbers(np.arange(1_000_000) / 1e6 * 1.02),
    )
    result = compared(KS.compare(reference, current))
    assert result.p_value is not None
    assert result.p_value < 1e-20
    assert result.level == compared(PSI.compare(reference, current)).level == "none"


def test_fewer_than_100_values_or_20_independent_ones_are_insufficient() -> None:
    many, few = numbers(np.arange(500)), numbers(np.arange(99) + 1000)
    for test in (KS, PSI):
        results = (
            test.compare(many, few),
            test.compare(few, many),
            test.compare(many, EMPTY),
            test.compare(many, many, current_size=19.0),
        )
        assert [compared(result).level for result in results] == ["insufficient_data"] * 4
        assert [compared(result).p_value for result in results] == [None] * 4


def test_identifiers_and_changes_of_type_are_reported_and_not_tested() -> None:
    names = StringSummary.of([f"user {i}" for i in range(5000)])
    words, figures = StringSummary.of(["a", "b"] * 100), numbers(np.arange(200))
    assert (
        compared(PSI.compare(names, names)).level
        == compared(PSI.compare(words, names)).level
        == "identifier"
    )
    assert (
        compared(PSI.compare(words, figures)).level
        == compared(KS.compare(figures, words)).level
        == "type changed"
    )
    assert KS.compare(words, words) is None


def test_new_values_against_a_constant_reference_are_severe() -> None:
    zero = numbers(np.zeros(500))
    for value in (-1.0, 1.0, 1e-300):
        mixed = numbers(np.where(np.arange(500) % 2, value, 0.0))
        for test in (KS, PSI):
            assert compared(test.compare(zero, mixed)).level == "severe"
    assert compared(PSI.compare(zero, zero)).level == "none"


def test_new_and_vanished_categories_are_severe() -> None:
    before = StringSummary.of_counts({"visa": 600, "card": 400})
    after = StringSummary.of_counts({"visa": 600, "cash": 400})
    assert compared(PSI.compare(before, after)).level == "severe"
    assert compared(PSI.compare(before, before)).level == "none"


def test_groups_are_tenths_of_the_reference_and_no_bin_is_cut() -> None:
    values = np.random.default_rng(2).lognormal(size=20_000)
    summary = numbers(values)
    groups = NumericGroups.of(summary, 10)
    assert len(groups.cuts) == 9
    assert np.abs(groups.counts(summary) - 2000).max() < 150
    panes = [numbers(part) for part in np.array_split(values, 40)] + [EMPTY]
    assert groups.counts_of_each(panes).tolist() == [groups.counts(pane).tolist() for pane in panes]
    assert groups.counts_of_each([]).shape == (0, 10)
    assert (
        groups.counts(summary).tolist()
        == np.bincount(np.searchsorted(groups.cuts, values), minlength=10).tolist()
    )


def test_grouping_numbers_with_texts_is_rejected() -> None:
    with pytest.raises(
        ValueError, match="a reference of NumericSummary cannot be compared with StringSummary"
    ):
        grouped(numbers(np.arange(3)), StringSummary.of(["a"]), 10)


def test_adjusted_p_values_equal_scipy() -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 17):
        p_values = rng.random(count) ** 3
        np.testing.assert_allclose(
            adjust(p_values), stats.false_discovery_control(p_values, method="bh")
        )
    assert adjust(np.zeros(0)).tolist() == []


def test_levels_follow_adjusted_p_values_and_results_without_one_do_not_count() -> None:
    def result(p_value: float | None) -> DriftResult:
        effect, level = (
            (None, "insufficient_data")
            if p_value is None
            else (0.5, level_of(p_value, 0.5, (0.05, 0.1, 0.2)))
        )
        return DriftResult("ks", effect, p_value, effect, (0.05, 0.1, 0.2), level, 500, 500, 500.0)

    before = [result(0.04), result(None), result(0.5), result(0.0008)]
    after = adjusted(before)
    assert [r.level for r in before] == ["mild", "insufficient_data", "none", "severe"]
    # 0.04 * 3 / 2 = 0.06, 0.5, 0.0008 * 3 = 0.0024
    assert [r.p_value and round(r.p_value, 6) for r in after] == [0.06, None, 0.5, 0.0024]
    assert [r.level for r in after] == ["none", "insufficient_data", "none", "moderate"]


def test_dependence_is_not_estimated_from_fewer_than_ten_panes() -> None:
    varying = np.array([[90, 10], [10, 90]] * 4)
    assert inflation(varying) is None
    assert effective_size(varying) == 800.0
    # Empty panes do not count.
    assert inflation(np.concatenate((varying, np.zeros((50, 2), dtype=np.int64)))) is None


def test_effective_size_of_a_constant_feature_is_its_number_of_rows() -> None:
    assert effective_size(np.tile([7, 0], (20, 1))) == 140.0


PANE_ROWS, REFERENCE_PANES, CURRENT_PANES = 30, 720, 168


def autoregressive(rng: np.random.Generator, rows: int, coefficient: float) -> NDArray[np.float64]:
    noise = rng.normal(size=rows) * np.sqrt(1 - coefficient**2)
    noise[0] = rng.normal()
    drawn: NDArray[np.float64] = lfilter([1], [1, -coefficient], noise)
    return drawn


def stream(
    rng: np.random.Generator, panes: int, coefficient: float, daily: float, shift: float
) -> list[NumericSummary]:
    """Hourly panes of 30 rows: AR(1) with variance 1, plus a daily cycle, plus a shift."""
    cycle = np.repeat(np.tile(daily * np.sin(np.arange(24) * np.pi / 12), panes // 24), PANE_ROWS)
    values = autoregressive(rng, panes * PANE_ROWS, coefficient) + cycle + shift
    return BinColumns.of(values, np.repeat(np.arange(panes), PANE_ROWS), panes).summaries()


def alarm_rates(
    seed: int,
    runs: int,
    coefficient: float,
    *,
    daily: float = 0.0,
    shift: float = 0.0,
    from_hour: int = 0,
    dependent: bool = True,
    own: bool = True,
) -> dict[str, float]:
    """Share of runs with p below 0.05: 30 days of reference against 7 days, rows hourly by 30.

    A shift begins in the hour `from_hour` of the window. How far its rows depend on each other is
    taken from the window itself (`own`) or from the reference.
    """
    alarms = {"psi": 0, "ks": 0}
    sizes = np.zeros((runs, 2))
    rng = np.random.default_rng(seed)
    for run in range(runs):
        sides = (
            stream(rng, REFERENCE_PANES, coefficient, daily, 0.0),
            [
                *stream(rng, CURRENT_PANES, coefficient, daily, 0.0)[:from_hour],
                *stream(rng, CURRENT_PANES, coefficient, daily, shift)[from_hour:],
            ],
        )
        reference, current = summed(sides[0]), summed(sides[1])
        counts = [counts_by_pane(reference, panes) for panes in sides]
        sizes[run] = [
            effective_size(side, period=24) if dependent else side.sum() for side in counts
        ]
        if not own:
            rows = [int(side.sum()) for side in counts]
            longer = REFERENCE_PANES / CURRENT_PANES
            sizes[run, 1] = as_in_reference(rows[1], rows[0], sizes[run, 0], longer)
        for test in (PSI, KS):
            result = compared(
                test.compare(
                    reference, current, reference_size=sizes[run, 0], current_size=sizes[run, 1]
                )
            )
            alarms[test.name] += int(result.p_value is not None and result.p_value < 0.05)
    rates = {name: count / runs for name, count in alarms.items()}
    print(
        f"seed {seed}, {runs} runs, AR(1) {coefficient}, daily cycle {daily}, shift {shift}, "
        f"dependence {'seen' if dependent else 'ignored'}"
        f"{'' if own else ', of the reference'}: alarms {rates}, "
        f"effective sizes {sizes.mean(axis=0).round()} of {REFERENCE_PANES * PANE_ROWS}"
        f" and {CURRENT_PANES * PANE_ROWS}"
    )
    return rates


def most(runs: int) -> float:
    """The 99.9 % quantile of the share of alarms in `runs` runs at a false-alarm rate of 5 %."""
    return float(stats.binom.ppf(0.999, runs, 0.05)) / runs


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("coefficient", "daily"),
    [(0.0, 0.0), (0.5, 0.0), (0.9, 0.0), (0.99, 0.0), (0.0, 1.5), (0.9, 1.5)],
)
def test_false_alarm_rate_without_drift_is_at_most_five_percent(
    coefficient: float, daily: float, own: bool
) -> None:
    runs = 150
    assert max(alarm_rates(11, runs, coefficient, daily=daily, own=own).values()) <= most(runs)


def test_a_shift_in_the_last_two_days_of_a_window_is_seen_by_the_dependence_of_the_reference() -> (
    None
):
    late = {"shift": 2.0, "from_hour": CURRENT_PANES - 48}
    assert min(alarm_rates(15, 30, 0.5, own=False, **late).values()) >= 0.9
    assert max(alarm_rates(15, 30, 0.5, own=True, **late).values()) <= 0.5


def test_assuming_independent_rows_would_alarm_most_of_the_time() -> None:
    assert min(alarm_rates(12, 20, 0.9, dependent=False).values()) > 0.5


@pytest.mark.parametrize(
    ("coefficient", "daily", "shift"), [(0.0, 0.0, 0.2), (0.9, 0.0, 0.5), (0.9, 1.5, 0.5)]
)
def test_real_shift_raises_an_alarm(coefficient: float, daily: float, shift: float) -> None:
    assert min(alarm_rates(13, 30, coefficient, daily=daily, shift=shift).values()) >= 0.9


def test_psi_above_a_tenth_by_chance_at_100_against_100_raises_no_level() -> None:
    runs = 1000
    rng = np.random.default_rng(14)
    results = [
        compared(PSI.compare(numbers(rng.normal(size=100)), numbers(rng.normal(size=100))))
        for _ in range(runs)
    ]
    plain = np.mean([result.statistic is not None and result.statistic > 0.1 for result in results])
    alarms = np.mean([result.level != "none" for result in results])
    print(
        f"seed 14, {runs} windows of 100 against 100 without drift: PSI > 0.1 in {plain:.3f},"
        f" a level in {alarms:.3f}"
    )
    assert plain > 0.5
    assert alarms <= most(runs)


def test_false_alarm_rate_of_independent_samples_is_nominal() -> None:
    runs = 2000
    rng = np.random.default_rng(15)
    alarms = {"ks": 0, "psi": 0}
    for _ in range(runs):
        reference, current = numbers(rng.normal(size=2000)), numbers(rng.normal(size=600))
        for test in (KS, PSI):
            alarms[test.name] += (compared(test.compare(reference, current)).p_value or 1.0) < 0.05
    print(
        f"seed 15, {runs} pairs of 2000 and 600 independent rows: p < 0.05 in"
        f" { ({k: v / runs for k, v in alarms.items()}) }"
    )
    assert max(alarms.values()) / runs <= most(runs)
    assert min(alarms.values()) / runs >= 0.02


def test_distance_over_bins_is_zero_for_equal_shares() -> None:
    one = numbers(np.arange(1000) % 7)
    assert ks_distance(one, merged([one, one])) == 0.0
