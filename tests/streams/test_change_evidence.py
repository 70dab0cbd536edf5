"""Evidence of a fall, dispersion and history, each against slow and obvious code."""

from __future__ import annotations

from math import asin, exp, pi, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.decide.detectors import rate_history
from driftline.streams.decide.detectors.change_evidence import (
    PRIOR_SCALE,
    Dispersion,
    fall_of,
    log_evidence,
)
from driftline.streams.decide.detectors.dispersion import REACH, SPAN, span_factors
from driftline.streams.decide.detectors.rate_history import Block, RateHistory

PLAIN = 1e12  # degrees of freedom of a factor that is known


def angle(right: int, n: int) -> float:
    return 2 * asin(sqrt((right + 0.375) / (n + 0.75)))


def bayes_factor(difference: float, variance: float) -> float:
    """The half-normal prior integrated by the trapezium rule."""
    falls = np.linspace(0.0, 8 * PRIOR_SCALE, 40_001)
    prior = np.sqrt(2 / pi) / PRIOR_SCALE * np.exp(-(falls**2) / 2 / PRIOR_SCALE**2)
    ratio = np.exp((difference * falls - falls**2 / 2) / variance)
    return float(np.trapezoid(prior * ratio, falls))


@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("right", [140, 150, 160, 170])
def test_evidence_is_the_bayes_factor_of_a_half_normal_prior(right: int, factor: float) -> None:
    one = (np.array([[1000]]), np.array([[800]]), np.array([[200]]), np.array([[right]]))
    by = Dispersion(np.array([factor, factor]), PLAIN)
    difference = angle(800, 1000) - angle(right, 200)
    expected = bayes_factor(difference, factor * (1 / 1000.5 + 1 / 200.5))
    # One stream: half of the weight is its own, half that of all streams together, which is it.
    assert np.exp(log_evidence(*one, by)) == pytest.approx(
        np.array([[expected / 2, expected / 2]]), rel=1e-4
    )


def test_all_streams_together_are_judged_by_their_mean_difference() -> None:
    two = [np.array([each]) for each in ([1000, 400], [800, 300], [200, 100], [150, 60])]
    weights = [1 / (1 / 1000.5 + 1 / 200.5), 1 / (1 / 400.5 + 1 / 100.5)]
    differences = [angle(800, 1000) - angle(150, 200), angle(300, 400) - angle(60, 100)]
    mean = sum(w * d for w, d in zip(weights, differences, strict=True)) / sum(weights)
    logs = log_evidence(*two, Dispersion(np.array([1.0, 1.0, 2.0]), PLAIN))
    assert exp(logs[0, 2]) == pytest.approx(bayes_factor(mean, 2.0 / sum(weights)) / 2, rel=1e-4)
    assert exp(logs[0, 0]) == pytest.approx(
        bayes_factor(differences[0], 1 / weights[0]) / 4, rel=1e-4
    )


def test_another_base_rate_is_no_evidence() -> None:
    # 800 of 1,000 and 180 of 200 before; the same rates since, with three times as many positives.
    same = [np.array([each]) for each in ([1000, 200], [800, 180], [100, 60], [80, 54])]
    assert exp(log_evidence(*same, Dispersion(np.ones(3), PLAIN)).max()) < 0.5


def test_an_uncertain_dispersion_makes_evidence_weaker() -> None:
    worse = [np.array([each]) for each in ([1000], [800], [200], [130])]
    known, uncertain = (
        float(log_evidence(*worse, Dispersion(np.ones(2), freedom)).max())
        for freedom in (PLAIN, 10.0)
    )
    assert 1.0 < uncertain < known - 2.0


def test_a_rise_is_as_much_evidence_as_the_fall_of_the_same_size() -> None:
    n0, right0, n1, right1 = (np.array([[each]]) for each in (1000, 600, 200, 150))
    by = Dispersion(np.ones(2), 20.0)
    rise = log_evidence(n0, n0 - right0, n1, n1 - right1, by)
    # The mirror: shares of 0.4 and 0.25 in place of 0.6 and 0.75.
    fall = log_evidence(n0, np.array([[400]]), n1, np.array([[50]]), by)
    assert rise == pytest.approx(fall, rel=1e-12)


def test_the_evidence_of_one_time_is_at_most_one_on_average_without_change() -> None:
    rng, runs = np.random.default_rng(5), 40_000
    n = np.tile([1500, 500], (runs, 1))
    since = np.tile([150, 50], (runs, 1))
    logs = log_evidence(
        n, rng.binomial(n, 0.83), since, rng.binomial(since, 0.83), Dispersion(np.ones(3), PLAIN)
    )
    # Below one: these binomial tails are lighter than the normal ones.
    assert 0.5 < np.exp(logs).sum(axis=1).mean() < 1.0, "seed 5"


def test_the_size_of_a_fall_of_all_streams_has_the_same_weights_on_both_sides() -> None:
    # Harmonic weights: 1000 * 100 / 1100 = 90.9 and 200 * 300 / 500 = 120, shares 0.431 and 0.569.
    found = fall_of(
        2,
        np.array([1000, 200]),
        np.array([900, 120]),
        np.array([100, 300]),
        np.array([80, 150]),
        Dispersion(np.ones(3), PLAIN),
    )
    assert found.before == pytest.approx(0.431034 * 0.9 + 0.568966 * 0.6, abs=1e-6)
    assert found.since == pytest.approx(0.431034 * 0.8 + 0.568966 * 0.5, abs=1e-6)
    assert (found.n_before, found.n_since) == (1200, 400)
    assert found.loss_ci[0] < found.loss < found.loss_ci[1]


def test_the_dispersion_is_bartletts_estimate_over_its_mean_for_independent_days() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(5, 50, (SPAN, 2))
    right = rng.binomial(n, 0.7)

    def form(values: Any) -> float:
        return sum(
            values[s] * values[t] * max(0.0, 1 - abs(s - t) / REACH)
            for s in range(SPAN)
            for t in range(SPAN)
        )

    # Mean of the form for independent days of variance one, around their own mean.
    mean = sum(form([float(s == t) - 1 / SPAN for s in range(SPAN)]) for t in range(SPAN))
    expected, residuals, variances = [], np.zeros(SPAN), np.zeros(SPAN)
    for stream in range(2):
        rate = (right[:, stream].sum() + 0.5) / (n[:, stream].sum() + 1)
        residual = right[:, stream] - n[:, stream] * rate
        variance = n[:, stream] * rate * (1 - rate)
        residuals, variances = residuals + residual, variances + variance
        expected.append(form(residual - residual.mean()) / mean / variance.mean())
    expected.append(form(residuals - residuals.mean()) / mean / variances.mean())
    factors, freedom = span_factors(n, right)
    assert factors == pytest.approx(np.array(expected), rel=1e-9)
    assert 5 < freedom < 15


@pytest.mark.parametrize(("factor", "low", "high"), [(1.0, 0.95, 1.05), (3.0, 2.7, 3.1)])
def test_the_dispersion_is_that_of_the_days(factor: float, low: float, high: float) -> None:
    rng, n = np.random.default_rng(8), np.full((SPAN, 1), 400)
    found = []
    for _ in range(2000):
        rate = 0.8 + rng.normal(0, sqrt((factor - 1) / 399 * 0.16), (SPAN, 1))
        found.append(span_factors(n, rng.binomial(n, np.clip(rate, 0, 1)))[0][0])
    assert low < np.mean(found) < high, "seed 8"


def fed(windows: list[list[tuple[str, int, int]]], size_ms: int = DAY_MS) -> RateHistory:
    history = RateHistory()
    for number, counts in enumerate(windows):
        history, _ = rate_history.with_counts(
            history, number * size_ms, (number + 1) * size_ms, counts
        )
    return history


COUNTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.floats(0, 1)).map(
        lambda each: (each[0], each[1], round(each[1] * each[2]))
    ),
    max_size=3,
    unique_by=lambda each: each[0],
)


@given(st.lists(COUNTS, max_size=300))
def test_no_count_is_lost_and_the_history_stays_small(
    windows: list[list[tuple[str, int, int]]],
) -> None:
    history = fed(windows)
    parts = [block for block in (history.before, *history.blocks, history.today) if block]
    for stream, label in enumerate(history.labels):
        rows = [counts for window in windows for counts in window if counts[0] == label]
        assert sum(block.n[stream] for block in parts) == sum(n for _, n, _ in rows)
        assert sum(block.right[stream] for block in parts) == sum(right for *_, right in rows)
    labelled = sum(any(n for _, n, _ in window) for window in windows)
    assert sum(block.days for block in parts) == labelled
    starts = [block.start_ms for block in parts]
    assert starts == sorted(starts)


def test_ten_years_have_fewer_than_150_blocks() -> None:
    history = fed([[("a", 10, 8)]] * 3653)
    sizes = [block.days for block in history.blocks]
    assert len(sizes) < 150
    assert sizes == sorted(sizes, reverse=True)
    assert sizes.count(1) in (59, 60)  # two of the oldest become one
    assert history.before == Block(0, 30, (300,), (240,))


def test_a_short_baseline_has_an_estimate_of_the_dispersion_of_its_own() -> None:
    n, right = [[40]] * 10, [[20], [38]] * 5
    history = RateHistory()
    for day, (rows, hits) in enumerate(zip(n, right, strict=True)):
        history, _ = rate_history.with_counts(
            history, day * DAY_MS, (day + 1) * DAY_MS, [("a", rows[0], hits[0])], 10
        )
    factors, freedom = span_factors(np.array(n), np.array(right))
    assert history.before == Block(0, 10, (400,), (290,))
    assert history.freedom == freedom
    assert history.squares == pytest.approx(freedom * factors)


def test_hours_add_up_to_days() -> None:
    rng = np.random.default_rng(4)
    hours = [
        [("a", int(n), int(right))]
        for n, right in zip(rng.integers(2, 5, 24 * 50), rng.integers(0, 3, 24 * 50), strict=True)
    ]
    days = [
        [("a", sum(h[0][1] for h in day), sum(h[0][2] for h in day))]
        for day in (hours[start : start + 24] for start in range(0, len(hours), 24))
    ]
    assert fed(hours, HOUR_MS) == fed(days)


def test_a_day_without_a_last_hour_becomes_complete_with_the_next_record() -> None:
    history, closed = rate_history.with_counts(RateHistory(), 0, HOUR_MS, [("a", 3, 2)])
    assert (closed, history.blocks) == (False, ())
    history, closed = rate_history.with_counts(
        history, 2 * DAY_MS, 2 * DAY_MS + HOUR_MS, [("a", 5, 5)]
    )
    assert (closed, history.blocks) == (True, (Block(0, 1, (3,), (2,)),))
    assert history.today == Block(2 * DAY_MS, 1, (5,), (5,))


def test_classes_beyond_the_fifteenth_share_a_stream() -> None:
    history = fed([[(f"class {number}", 10, number) for number in range(20)]] * 2)
    assert history.labels == (*(f"class {number}" for number in range(15)), "(other)")
    assert history.blocks[1].n == (10,) * 15 + (50,)
    assert history.blocks[1].right[-1] == 15 + 16 + 17 + 18 + 19
