"""Shifts of shares: Cohen's own table, false alarms without a shift, and rows that depend on each
other.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftline.streams.drift.effective_size import effective_size
from driftline.streams.drift.share_shift import ShareOfRows, cohens_h, share_shift
from driftline.streams.measure.drift.feature_shares import ShareSizes, named_unseen, share_results
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.summaries.text_summary import StringSummary


def of(hits: int, rows: int, effective: float | None = None) -> ShareOfRows:
    return ShareOfRows(hits, rows, float(rows) if effective is None else effective)


# Cohen (1988), table 6.2.2: phi of a share.
PHI = {0.01: 0.200, 0.05: 0.451, 0.10: 0.644, 0.30: 1.159, 0.50: 1.571, 0.80: 2.214, 1.0: 3.142}


def test_h_is_the_difference_of_the_phi_of_cohens_table() -> None:
    for p, phi_p in PHI.items():
        for q, phi_q in PHI.items():
            assert cohens_h(p, q) == pytest.approx(phi_q - phi_p, abs=0.0011)


@pytest.mark.parametrize(
    ("before", "now", "level"),
    [
        ((0, 1000), (0, 1000), "none"),
        ((0, 1000), (9, 1000), "none"),
        ((0, 1000), (10, 1000), "mild"),
        ((0, 1000), (62, 1000), "moderate"),
        ((0, 1000), (152, 1000), "severe"),
        ((0, 1000), (1000, 1000), "severe"),
        ((300, 1000), (0, 1000), "severe"),
        ((500, 1000), (600, 1000), "mild"),
        ((0, 99), (350, 350), "insufficient_data"),
        ((0, 350), (99, 99), "insufficient_data"),
    ],
)
def test_levels_begin_at_small_medium_and_large_effects(
    before: tuple[int, int], now: tuple[int, int], level: str
) -> None:
    result = share_shift("missing", of(*before), of(*now))
    assert (result.level, result.n_reference, result.n_current) == (level, before[1], now[1])


def test_p_value_is_that_of_anscombes_angles_in_the_normal_distribution() -> None:
    # 20 of 400 rows are worth 10 of 200, 60 of 500 are worth 12 of 100.
    result = share_shift("missing", of(20, 400, 200.0), of(60, 500, 100.0))
    h = 2 * math.asin(math.sqrt(0.12)) - 2 * math.asin(math.sqrt(0.05))
    moved = 2 * math.asin(math.sqrt(12.375 / 100.75)) - 2 * math.asin(math.sqrt(10.375 / 200.75))
    assert result.statistic == pytest.approx(h)
    assert result.p_value == pytest.approx(
        2 * stats.norm.sf(moved / math.sqrt(1 / 200.5 + 1 / 100.5))
    )
    assert (result.effect, result.n_effective) == (result.statistic, 100.0)


@pytest.mark.parametrize("share", [0.001, 0.005, 0.01, 0.03, 0.1, 0.5])
def test_a_shift_by_chance_is_about_as_rare_as_its_p_value_says(share: float) -> None:
    n, m = 1500, 350
    likely = [
        [k for k in range(rows + 1) if stats.binom.pmf(k, rows, share) > 1e-12] for rows in (n, m)
    ]
    before, now = (
        stats.binom.pmf(hits, rows, share) for hits, rows in zip(likely, (n, m), strict=True)
    )
    results = [[share_shift("missing", of(k, n), of(j, m)) for j in likely[1]] for k in likely[0]]
    for limit in (1e-4, 1e-3):
        alarms = [
            [each.level != "none" and each.p_value <= limit for each in row] for row in results
        ]
        assert before @ np.array(alarms) @ now <= 2 * limit


def test_few_independent_rows_give_no_verdict() -> None:
    assert share_shift("missing", of(0, 500, 19.0), of(500, 500)).level == "insufficient_data"
    assert share_shift("missing", of(0, 500), of(500, 500, 19.0)).p_value is None


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_false_alarm_rate_without_a_shift_is_nominal(share: float) -> None:
    runs = 4_000
    rng = np.random.default_rng(21)
    drawn = zip(rng.binomial(2_000, share, runs), rng.binomial(600, share, runs), strict=True)
    alarms = sum(
        (share_shift("missing", of(int(a), 2_000), of(int(b), 600)).p_value or 1.0) < 0.05
        for a, b in drawn
    )
    print(
        f"seed 21, share {share}, {runs} pairs of 2,000 and 600 rows: p < 0.05 in {alarms / runs}"
    )
    low, high = stats.binom.ppf((0.001, 0.999), runs, 0.05) / runs
    assert low <= alarms / runs <= high


def bursts(rng: np.random.Generator, hours: int, stay: float, share: float) -> NDArray[np.int64]:
    """Rows without and with a value of each hour, 30 in all: an hour is like the one before with
    the probability `stay`, else it lacks all values with the probability `share`.
    """
    fails, stays = rng.random(hours) < share, rng.random(hours) < stay
    for hour in range(1, hours):
        fails[hour] = fails[hour - 1] if stays[hour] else fails[hour]
    missing = np.where(fails, 30, 0)
    return np.stack((missing, 30 - missing), axis=1)


@pytest.mark.parametrize(("stay", "share"), [(0.0, 0.3), (0.67, 0.05), (0.9, 0.05), (0.9, 0.3)])
def test_bursts_as_in_the_reference_seldom_reach_the_level_of_an_alert(
    stay: float, share: float
) -> None:
    runs, rng = 200, np.random.default_rng(22)
    alarms = {"seen": 0, "ignored": 0}
    for _ in range(runs):
        before, now = bursts(rng, 30 * 24, stay, share), bursts(rng, 7 * 24, stay, share)
        worth = effective_size(before, period=24) / before.sum()
        for name, factor in (("seen", worth), ("ignored", 1.0)):
            sides = [of(int(s[:, 0].sum()), int(s.sum()), s.sum() * factor) for s in (before, now)]
            alarms[name] += share_shift("missing", *sides).level in ("moderate", "severe")
    print(f"seed 22, {runs} runs, stay {stay}, share {share}: alerts by dependence {alarms}")
    assert alarms["seen"] / runs <= stats.binom.ppf(0.999, runs, 0.05) / runs
    assert alarms["seen"] <= alarms["ignored"]


def test_results_are_given_where_a_side_has_such_rows() -> None:
    numbers, texts = NumericSummary.of(np.arange(200.0)), StringSummary.of(["a", "b"] * 100)
    whole, half = FeatureSummary(numbers), FeatureSummary(numbers, missing=200)
    mixed, words = FeatureSummary(numbers, texts), FeatureSummary(texts=texts)

    def judged(before: FeatureSummary, now: FeatureSummary) -> dict[str, tuple[str, float | None]]:
        return {
            result.method: (result.level, result.effect and round(result.effect, 3))
            for result in share_results(before, ShareSizes(), now, None)
        }

    assert judged(whole, whole) == {}
    assert judged(whole, half) == {"missing": ("severe", 1.571)}
    assert judged(half, whole) == {"missing": ("severe", 1.571)}
    assert judged(whole, FeatureSummary(missing=200)) == {"missing": ("severe", 3.142)}
    assert judged(whole, words) == judged(words, whole) == {"kind": ("severe", 3.142)}
    assert judged(whole, mixed) == {"kind": ("severe", 1.571)}
    assert judged(mixed, mixed) == {"kind": ("none", 0.0)}


def test_rows_are_worth_as_little_as_those_of_the_reference() -> None:
    numbers = NumericSummary.of(np.arange(900.0))
    before, now = FeatureSummary(numbers, missing=100), FeatureSummary(numbers, missing=300)
    (plain,) = share_results(before, ShareSizes(), now, None)
    (bursts,) = share_results(before, ShareSizes(missing=50.0), now, None)
    assert (plain.n_effective, bursts.n_effective) == (1_200.0, 60.0)
    assert plain.p_value is not None
    assert bursts.p_value is not None
    assert plain.p_value < 1e-15 < 0.01 < bursts.p_value


def test_texts_that_the_reference_never_had_are_compared_with_those_that_it_has_once() -> None:
    counts = {"a": 600, "b": 395} | dict.fromkeys("cdefg", 1)
    before = FeatureSummary(texts=StringSummary.of_counts(counts))
    now = FeatureSummary(texts=StringSummary.of_counts({"a": 160, "c": 8, "x": 24, "y": 8}))
    (result,) = share_results(before, ShareSizes(), now, None)
    h = 2 * math.asin(math.sqrt(32 / 200)) - 2 * math.asin(math.sqrt(5 / 1_000))
    assert (result.method, result.n_reference, result.n_current) == ("unseen", 1_000, 200)
    assert result.statistic == pytest.approx(h)
    z = h / math.sqrt(1 / 1_000 + 1 / 200)
    assert result.p_value == pytest.approx(stats.norm.sf(z))
    assert result.level == "moderate"
    assert named_unseen(before, now) == {"x": 24, "y": 8}
    (dependent,) = share_results(before, ShareSizes(), now, 100.0)
    assert dependent.n_effective == 20.0


def test_a_share_of_unseen_texts_below_the_usual_one_is_no_shift() -> None:
    half_once = {"a": 500} | {f"once-{number}": 1 for number in range(500)}
    before = FeatureSummary(texts=StringSummary.of_counts(half_once))
    now = FeatureSummary(texts=StringSummary.of_counts({"a": 990, "x": 10}))
    (result,) = share_results(before, ShareSizes(), now, None)
    assert (result.level, result.effect) == ("none", 0.0)
    assert result.statistic is not None
    assert result.statistic < 0
    assert result.p_value == pytest.approx(1.0)


def test_identifiers_and_numbers_have_no_unseen_texts() -> None:
    many = StringSummary.of(f"user-{number}" for number in range(2_000))
    known, numbers = StringSummary.of(["a", "b"] * 100), NumericSummary.of(np.arange(200.0))
    other = StringSummary.of(["c"] * 150)
    for before, now in ((many, other), (known, many)):
        sides = FeatureSummary(texts=before), FeatureSummary(texts=now)
        assert list(share_results(sides[0], ShareSizes(), sides[1], None)) == []
    methods = [
        result.method
        for result in share_results(
            FeatureSummary(numbers), ShareSizes(), FeatureSummary(numbers, other), None
        )
    ]
    assert methods == ["kind"]


@pytest.mark.parametrize("rows", [300, 3_000])
def test_a_long_tail_of_texts_without_change_never_reaches_the_level_of_an_alert(rows: int) -> None:
    runs, rng = 200, np.random.default_rng(31)
    levels: Counter[str] = Counter()
    for _ in range(runs):
        before, now = (
            FeatureSummary(texts=StringSummary.of(map(str, rng.geometric(0.05, n).tolist())))
            for n in (rows, max(100, rows * 7 // 30))
        )
        for result in share_results(before, ShareSizes(), now, None):
            levels[result.level] += 1
    print(f"seed 31, {runs} runs, {rows} rows: {dict(levels)}")
    assert levels["moderate"] + levels["severe"] == 0
    assert levels["mild"] <= stats.binom.ppf(0.999, runs, 0.1)
