"""What `make bench-statistics` measures with, and a few of its models."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest

from driftline.streams.decide.detectors.rate_history import BASELINE_DAYS
from tests.bench.all_rules import false_alarms, first_alert, upper_limit
from tests.bench.feature_faults import FAULTS, Fault, episodes, models
from tests.bench.simulated_figures import Service, days_of
from tests.bench.simulated_outcomes import Case, simulated
from tests.bench.statistics import alarms, cusum_of, first_alarm, lorden

SEED = 21


def test_simulated_models_have_the_rows_and_the_errors_of_their_case() -> None:
    rng = np.random.default_rng(SEED)
    rows, wrong = simulated(Case(labels=200, error_after=0.35, change_day=100), 200, rng)
    # Predictions begin 40 days before the first day, so that it has labels of all delays.
    assert rows.sum(axis=1).mean() == pytest.approx(200, rel=0.02)
    assert rows[:, 1].sum() / rows.sum() == pytest.approx(0.23, abs=0.01)
    before, after = (wrong[days].sum() / rows[days].sum() for days in (slice(100), slice(120, 200)))
    assert before == pytest.approx(0.17, abs=0.01)
    assert after == pytest.approx(0.35, abs=0.015)


@pytest.mark.parametrize(
    ("more", "factor"),
    [
        ({}, 1.0),
        ({"inflation": 3.0}, 3.0),
        # (1 + 0.5) / (1 - 0.5) = 3 times the variance, of errors that stick and of days that do.
        ({"stickiness": 0.5}, 3.0),
        ({"inflation": 3.0, "memory": 0.5}, 1.0 + 2.0 * 3.0),
    ],
)
def test_the_long_run_variance_of_simulated_errors_is_that_of_the_case(
    more: dict[str, float], factor: float
) -> None:
    rng, days = np.random.default_rng(SEED), 120
    case = Case(labels=50)._replace(**more)
    totals = []
    for _ in range(400):
        rows, wrong = simulated(case, days, rng)
        totals.append(wrong.sum() - 0.17 * rows.sum())
    found = np.var(totals) / (days * 50 * 0.17 * 0.83)
    # A variance from 400 models has a standard deviation of 7 %; the ends of the span have less.
    assert found == pytest.approx(factor, rel=0.2), f"seed {SEED}"


def test_the_base_rate_swings_by_season() -> None:
    rows, _ = simulated(Case(labels=2000, swing=0.10), 365, np.random.default_rng(SEED))
    share = rows[:, 1] / rows.sum(axis=1)
    assert share.min() == pytest.approx(0.13, abs=0.03)
    assert share.max() == pytest.approx(0.33, abs=0.03)


def test_the_cusum_adds_log_likelihood_ratios_and_starts_again_at_zero() -> None:
    rows = np.full((BASELINE_DAYS + 3, 1), 10)
    wrong = np.full((BASELINE_DAYS + 3, 1), 2)
    wrong[-3:, 0] = [0, 5, 4]
    up, down = log(0.4 / 0.2), log(0.6 / 0.8)
    first = max(0.0, 10 * down)
    second = max(0.0, first + 5 * up + 5 * down)
    third = max(0.0, second + 4 * up + 6 * down)
    assert cusum_of(rows, wrong, 0.4)[-3:] == pytest.approx([first, second, third])
    assert cusum_of(rows, wrong, 0.4)[:BASELINE_DAYS].max() == 0.0


def test_lordens_bound_by_hand() -> None:
    # 0.35 ln(0.35 / 0.17) + 0.65 ln(0.65 / 0.83) = 0.0938 nats; ln(365 * 100 / 0.5) = 11.20.
    assert lorden(100, 0.35, 2.0, 0.5, 200) == pytest.approx(11.198 / 0.09384 * 2 / 100, rel=1e-3)


def test_large_falls_are_found_within_days_and_quiet_models_are_quiet() -> None:
    rng = np.random.default_rng(SEED)
    quiet = [alarms(*simulated(Case(labels=200), 200, rng)) for _ in range(10)]
    assert sum(map(len, quiet)) <= 1, f"seed {SEED}"
    changed = Case(labels=200, error_after=0.35, change_day=60, inflation=3.0)
    delays = [first_alarm(*simulated(changed, 100, rng)) - 60 for _ in range(10)]
    assert 0 < np.median(delays) <= 10 < inf, f"seed {SEED}"


def test_the_limit_of_a_poisson_mean_by_its_probabilities() -> None:
    # exp(-2.996) = 0.05; with 2 events exp(-m) (1 + m + m^2 / 2) = 0.05 at 6.296.
    assert [round(upper_limit(count), 3) for count in (0, 2)] == [2.996, 6.296]


def test_a_service_that_does_not_change_is_quiet_and_one_that_does_is_alarmed_about() -> None:
    rng = np.random.default_rng(SEED)
    assert false_alarms(days_of(Case(labels=200), 60, rng)).total() <= 1, f"seed {SEED}"
    broken = Service(event_errors=0.5)
    day = first_alert(days_of(Case(labels=200), 44, rng, after=(40, broken)), "error_rate")
    # Half of the predictions in error: 0.28 nats a row of 8.8 nats, 31 rows or four hours.
    assert 40 < day < 41, f"seed {SEED}"


@pytest.mark.parametrize(
    ("fault", "target", "latest"), [(FAULTS[3], "feature:f2", 42), (FAULTS[4], "feature:f7", 46)]
)
def test_a_fault_of_a_feature_is_found_and_is_the_only_episode(
    fault: Fault, target: str, latest: int
) -> None:
    (model,) = models(50, 60, 1, 3, fault)
    ((day, finding),) = episodes(model)
    assert 42 <= day <= latest
    assert f"({target.removeprefix('feature:')} " in finding
